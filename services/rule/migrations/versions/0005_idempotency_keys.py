"""The keys by which a new item that is sent twice is known again."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the column, which few items use, and let a key make one item of an owner."""
    op.add_column("items", sa.Column("idempotency_key", sa.String(100)))
    used = sa.text("idempotency_key IS NOT NULL")
    columns = ["owner", "idempotency_key"]
    op.create_index("items_by_idempotency_key", "items", columns, unique=True, sqlite_where=used, postgresql_where=used)
