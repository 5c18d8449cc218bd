"""The tables of the rule service."""

from sqlalchemy import BigInteger, Column, DateTime, Index, Integer, MetaData, SmallInteger, String, Table, text
from sqlalchemy.dialects import sqlite

metadata = MetaData()

# SQLite knows no time zones: what is stored there says that it is UTC.
STORED_TIME = "%(year)04d-%(month)02d-%(day)02d %(hour)02d:%(minute)02d:%(second)02d.%(microsecond)06d+00:00"
SQLITE_TIME = sqlite.DATETIME(storage_format=STORED_TIME)  # type: ignore[no-untyped-call]
Time = DateTime(timezone=True).with_variant(SQLITE_TIME, "sqlite")
USED = text("idempotency_key IS NOT NULL")

items = Table(
    "items",
    metadata,
    # SQLite numbers rows by itself only in a column of exactly this type.
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("owner", String(64), nullable=False),
    # SQLite's order everywhere: by code point, whatever the server's locale.
    Column("name", String(200).with_variant(String(200, collation="C"), "postgresql"), nullable=False),
    Column("desc", String(2000), nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("changes", Integer, nullable=False),
    Column("created_at", Time, nullable=False),
    Column("updated_at", Time, nullable=False),
    # What its creator sent with it, so that the same one sent twice is not a second item.
    Column("idempotency_key", String(100)),
    # One index for each order, alone and within a status: a page costs the same however long the list is.
    Index("items_by_created_at", "owner", "created_at", "id"),
    Index("items_by_updated_at", "owner", "updated_at", "id"),
    Index("items_by_name", "owner", "name", "id"),
    Index("items_by_status_created_at", "owner", "status", "created_at", "id"),
    Index("items_by_status_updated_at", "owner", "status", "updated_at", "id"),
    Index("items_by_status_name", "owner", "status", "name", "id"),
    Index(
        "items_by_idempotency_key", "owner", "idempotency_key", unique=True, sqlite_where=USED, postgresql_where=USED
    ),
    # A deleted key is never given to another item.
    sqlite_autoincrement=True,
)
