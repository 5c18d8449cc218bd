"""The tables of the user service."""

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Index, Integer, MetaData, String, Table

metadata = MetaData()

accounts = Table(
    "accounts",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(50), nullable=False, unique=True),
    Column("password_hash", String(200), nullable=False),
    Column("authority", String(5), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    # Null if another account had it first, before canonical names were introduced.
    Column("canonical_name", String(150)),
    Index("accounts_by_canonical_name", "canonical_name", unique=True),
)

# In the database, so that all versions and replicas share the counts.
login_attempts = Table(
    "login_attempts",
    metadata,
    Column("name", String(50), primary_key=True),
    Column("count", Integer, nullable=False),
    Column("window_ends_at", DateTime(timezone=True), nullable=False),
    Index("login_attempts_by_window_ends_at", "window_ends_at"),
)

# One notice for each event; the unique index makes recording idempotent.
notices = Table(
    "notices",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("source", String(200), nullable=False),
    Column("event_id", String(200), nullable=False),
    Column("owner", String(64), nullable=False),
    Column("type", String(40), nullable=False),
    Column("item_key", String(64), nullable=False),
    Column("item_name", String(200), nullable=False),
    Column("happened_at", DateTime(timezone=True), nullable=False),
    Column("taken_at", DateTime(timezone=True), nullable=False),
    # The process that took it, as in `x-served-by`.
    Column("taken_by", String(200), nullable=False),
    Column("is_read", Boolean, nullable=False),
    Index("notices_by_event", "source", "event_id", unique=True),
    Index("notices_by_owner", "owner", "happened_at"),
    Index("notices_by_happened_at", "happened_at"),
)
