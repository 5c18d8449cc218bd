"""SQLite's times say that they are UTC."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the zone; PostgreSQL stores points in time, and needs none."""
    if op.get_context().dialect.name == "sqlite":
        op.execute("UPDATE items SET created_at = created_at || '+00:00', updated_at = updated_at || '+00:00'")
