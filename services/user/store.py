"""All SQL of the user service."""

import secrets
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

from sqlalchemy import delete, or_, select

from services.chassis.database import Database
from services.chassis.database.groups import Rows
from services.user.models import accounts, login_attempts
from services.user.names import comparable
from services.user.schemas import Authority

AccountRow = dict[str, Any]


async def find_by_id(database: Database, account_id: str) -> AccountRow | None:
    """Return the account with this id, or None."""
    # Ids are hexadecimal: other text is no account's, and PostgreSQL takes no NUL.
    if not account_id.isalnum():
        return None
    rows = await database.read(select(accounts).where(accounts.c.id == account_id))
    return rows[0] if rows else None


async def find_by_name(database: Database, name: str) -> AccountRow | None:
    """Return the account with this name, else the one that has it in another spelling, or None."""
    form = comparable(name)
    either = or_(accounts.c.name.in_([name, form]), accounts.c.canonical_name == form)
    rows = await database.read(select(accounts).where(either))
    return max(rows, key=lambda row: row["name"] == name, default=None)


async def all_accounts(database: Database) -> Rows:
    """Return id, name and authority of the first 1,000 accounts by name."""
    columns = select(accounts.c.id, accounts.c.name, accounts.c.authority)
    return await database.read(columns.order_by(accounts.c.name).limit(1000))


async def create(database: Database, name: str, password_hash: str, authority: Authority) -> AccountRow | None:
    """Create an account and return it, or None when the name is taken."""
    values = {"id": secrets.token_hex(16), "name": name, "password_hash": password_hash, "authority": authority}
    values["canonical_name"] = comparable(name)
    statement = _insert(database)(accounts).values(**values, created_at=datetime.now(UTC))
    rows = await database.write(statement.on_conflict_do_nothing().returning(*accounts.c))
    return rows[0] if rows else None


async def count_login_attempt(database: Database, name: str, window: timedelta) -> tuple[int, datetime]:
    """Count one more attempt for a name or a device; return how many there are in its window, and when that ends (UTC).

    Counted before the password is looked at: attempts made at the same time cannot all pass.
    """
    table, now = login_attempts, datetime.now(UTC)
    await database.write(delete(table).where(table.c.window_ends_at < now).returning(table.c.name))
    first = _insert(database)(table).values(name=name, count=1, window_ends_at=now + window)
    counted = first.on_conflict_do_update(index_elements=[table.c.name], set_={"count": table.c.count + 1})
    rows = await database.write(counted.returning(table.c.count, table.c.window_ends_at))
    # SQLite keeps times without their zone.
    return rows[0]["count"], rows[0]["window_ends_at"].replace(tzinfo=UTC)


async def forget_login_attempts(database: Database, name: str) -> None:
    """Start counting from zero after a right password."""
    await database.write(delete(login_attempts).where(login_attempts.c.name == name).returning(login_attempts.c.name))


def _insert(database: Database) -> Any:
    """Return the INSERT that knows ON CONFLICT: both databases understand the same, each by its own construct."""
    return import_module(f"sqlalchemy.dialects.{database.dialect}").insert
