"""Canonical names, for comparisons."""

import sqlalchemy as sa
from alembic import op

from services.user.names import RESERVED, comparable

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Give each account its canonical name.

    If several accounts have the same, the one whose name equals it gets it, else the oldest. The others have none, and
    neither have those with a reserved name: they log in with the exact spelling.
    """
    op.add_column("accounts", sa.Column("canonical_name", sa.String(150)))
    accounts = sa.table("accounts", *(sa.column(name) for name in ("id", "name", "canonical_name", "created_at")))
    rows = op.get_bind().execute(sa.select(accounts).order_by(accounts.c.created_at)).mappings().all()
    taken = set(RESERVED)
    for row in sorted(rows, key=lambda row: row["name"] != comparable(row["name"])):
        form = comparable(row["name"])
        if form not in taken or form == row["name"]:
            op.execute(accounts.update().where(accounts.c.id == row["id"]).values(canonical_name=form))
        taken.add(form)
    op.create_index("accounts_by_canonical_name", "accounts", ["canonical_name"], unique=True)
