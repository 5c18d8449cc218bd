"""Times in SQLite get their UTC offset."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Append the UTC offset in SQLite. PostgreSQL's timestamptz needs none."""
    if op.get_context().dialect.name == "sqlite":
        op.execute("UPDATE items SET created_at = created_at || '+00:00', updated_at = updated_at || '+00:00'")
