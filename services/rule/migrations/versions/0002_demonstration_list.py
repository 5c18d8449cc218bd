"""The guest's demonstration list."""

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

IN_PROGRESS, DONE, PAUSED = 1, 2, 3
ITEMS = (
    ("Read the README", "It is short.", DONE),
    ("打开 Kiali，看看拓扑图", "流量在 user v1 和 v2 之间各占一半。", IN_PROGRESS),
    ("Reload the page and watch the name change", "Half of the calls go to user v2.", IN_PROGRESS),
    ("给 user v2 分配 90% 的流量", "make split V1=10 V2=90", PAUSED),
    ("Start gentle traffic", "The switch is in the request path panel.", IN_PROGRESS),
)


def upgrade() -> None:
    """Give the guest a few items to look at."""
    items = sa.table(
        "items",
        *(sa.column(name) for name in ("owner", "name", "desc", "status", "changes")),
        sa.column("created_at", sa.DateTime(timezone=True)),
        sa.column("updated_at", sa.DateTime(timezone=True)),
    )
    now = datetime.now(UTC)
    for place, (name, desc, status) in enumerate(reversed(ITEMS)):
        time = now + timedelta(milliseconds=place)
        item = {"owner": "guest", "name": name, "desc": desc, "status": status, "changes": 0}
        op.execute(items.insert().values(**item, created_at=time, updated_at=time))
