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
    # One index for each order, alone and within a status: a page is read from it, and the list is never sorted.
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

# What has happened to items and is still to be sent: written in one transaction with the change itself.
outbox = Table(
    "outbox",
    metadata,
    # Of the event, too: unique for ever, also after this database has been made anew.
    Column("id", String(36), primary_key=True),
    Column("type", String(40), nullable=False),
    Column("owner", String(64), nullable=False),
    Column("item_id", BigInteger, nullable=False),
    Column("item_name", String(200), nullable=False),
    Column("traceparent", String(55)),
    Column("happened_at", Time, nullable=False),
    # How often it was claimed, and until when no replica may claim it again: a lease while it is sent, then a backoff.
    Column("attempts", Integer, nullable=False),
    Column("due_at", Time, nullable=False),
    Index("outbox_by_attempts", "attempts", "due_at"),
)
