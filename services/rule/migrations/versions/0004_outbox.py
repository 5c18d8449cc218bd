"""The transactional outbox: events that are not delivered yet."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the table and its index."""
    op.create_table(
        "outbox",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("type", sa.String(40), nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("item_id", sa.BigInteger, nullable=False),
        sa.Column("item_name", sa.String(200), nullable=False),
        sa.Column("traceparent", sa.String(55)),
        sa.Column("happened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("outbox_by_attempts", "outbox", ["attempts", "due_at"])
