"""The tables of the user service."""

from sqlalchemy import Column, DateTime, Index, Integer, MetaData, String, Table

metadata = MetaData()

accounts = Table(
    "accounts",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(50), nullable=False, unique=True),
    Column("password_hash", String(200), nullable=False),
    Column("authority", String(5), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    # Empty where another account had it first, before names were compared in this form.
    Column("canonical_name", String(150)),
    Index("accounts_by_canonical_name", "canonical_name", unique=True),
)

# In the database, so that all variants and replicas count together.
login_attempts = Table(
    "login_attempts",
    metadata,
    Column("name", String(50), primary_key=True),
    Column("count", Integer, nullable=False),
    Column("window_ends_at", DateTime(timezone=True), nullable=False),
    Index("login_attempts_by_window_ends_at", "window_ends_at"),
)
