"""Idempotency keys: a new item that is sent twice is created once."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the column, and an index that makes a key unique for each owner; most items have no key."""
    op.add_column("items", sa.Column("idempotency_key", sa.String(100)))
    used = sa.text("idempotency_key IS NOT NULL")
    columns = ["owner", "idempotency_key"]
    op.create_index("items_by_idempotency_key", "items", columns, unique=True, sqlite_where=used, postgresql_where=used)
