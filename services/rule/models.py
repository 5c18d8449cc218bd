"""The tables of the rule service."""

from sqlalchemy import BigInteger, Column, DateTime, Index, Integer, MetaData, SmallInteger, String, Table, text
from sqlalchemy.dialects import sqlite

metadata = MetaData()

# SQLite has no time zones: times are stored with the UTC offset.
STORED_TIME = "%(year)04d-%(month)02d-%(day)02d %(hour)02d:%(minute)02d:%(second)02d.%(microsecond)06d+00:00"
SQLITE_TIME = sqlite.DATETIME(storage_format=STORED_TIME)  # type: ignore[no-untyped-call]
Time = DateTime(timezone=True).with_variant(SQLITE_TIME, "sqlite")
USED = text("idempotency_key IS NOT NULL")

items = Table(
    "items",
    metadata,
    # SQLite generates ids only in a column of exactly this type.
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("owner", String(64), nullable=False),
    # Ordered by code point, as in SQLite, whatever the server's locale.
    Column("name", String(200).with_variant(String(200, collation="C"), "postgresql"), nullable=False),
    Column("desc", String(2000), nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("changes", Integer, nullable=False),
    Column("created_at", Time, nullable=False),
    Column("updated_at", Time, nullable=False),
    # The Idempotency-Key of the request that created the item.
    Column("idempotency_key", String(100)),
    # One index for each order, of the whole list and of one status: no page is sorted, but one of several statuses.
    Index("items_by_created_at", "owner", "created_at", "id"),
    Index("items_by_updated_at", "owner", "updated_at", "id"),
    Index("items_by_name", "owner", "name", "id"),
    Index("items_by_status_created_at", "owner", "status", "created_at", "id"),
    Index("items_by_status_updated_at", "owner", "status", "updated_at", "id"),
    Index("items_by_status_name", "owner", "status", "name", "id"),
    Index(
        "items_by_idempotency_key", "owner", "idempotency_key", unique=True, sqlite_where=USED, postgresql_where=USED
    ),
    # The key of a deleted item is never reused.
    sqlite_autoincrement=True,
)

# The transactional outbox: events that are not delivered yet, written in the transaction of the change itself.
outbox = Table(
    "outbox",
    metadata,
    # Also the id of the event: a UUID stays unique even if this database is created again.
    Column("id", String(36), primary_key=True),
    Column("type", String(40), nullable=False),
    Column("owner", String(64), nullable=False),
    Column("item_id", BigInteger, nullable=False),
    Column("item_name", String(200), nullable=False),
    Column("traceparent", String(55)),
    Column("happened_at", Time, nullable=False),
    # How often it was claimed, and when it may be claimed again: after a lease while it is sent, then after a backoff.
    Column("attempts", Integer, nullable=False),
    Column("due_at", Time, nullable=False),
    Index("outbox_by_attempts", "attempts", "due_at"),
)
