"""All SQL of the user service."""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from services.chassis.database import Database
from services.chassis.database.writes import Rows
from services.user.models import accounts, login_attempts
from services.user.schemas import Authority

AccountRow = dict[str, Any]

BY_ID = select(accounts).where(accounts.c.id == bindparam("the_id"))
BY_NAME = select(accounts).where(accounts.c.name == bindparam("the_name"))
ALL = select(accounts.c.id, accounts.c.name, accounts.c.authority).order_by(accounts.c.name).limit(1000)

# Both databases understand the same ON CONFLICT; SQLAlchemy's PostgreSQL construct compiles for PostgreSQL only.
_INSERT: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


async def find_by_id(database: Database, account_id: str) -> AccountRow | None:
    """Return the account with this id, or None."""
    # Ids are hexadecimal: other text is no account's, and PostgreSQL takes no NUL.
    rows = await database.read(BY_ID, {"the_id": account_id}) if account_id.isalnum() else []
    return rows[0] if rows else None


async def find_by_name(database: Database, name: str) -> AccountRow | None:
    """Return the account with this name, or None."""
    rows = await database.read(BY_NAME, {"the_name": name})
    return rows[0] if rows else None


async def all_accounts(database: Database) -> Rows:
    """Return id, name and authority of the first 1,000 accounts by name."""
    return await database.read(ALL)


async def create(database: Database, name: str, password_hash: str, authority: Authority) -> AccountRow | None:
    """Create an account and return it, or None when the name is taken."""
    statement = _INSERT[database.dialect](accounts).on_conflict_do_nothing().returning(*accounts.c)
    values = {"id": secrets.token_hex(16), "name": name, "password_hash": password_hash, "authority": authority}
    rows = await database.write(statement, {**values, "created_at": datetime.now(UTC)})
    return rows[0] if rows else None


async def count_login_attempt(database: Database, name: str, window: timedelta) -> tuple[int, datetime]:
    """Count one more attempt for a name; return how many there are in its window, and when that ends (UTC).

    Counted before the password is looked at: attempts made at the same time cannot all pass.
    """
    now = datetime.now(UTC)
    ended = delete(login_attempts).where(login_attempts.c.window_ends_at < bindparam("now"))
    await database.write(ended.returning(login_attempts.c.name), {"now": now})
    statement = _INSERT[database.dialect](login_attempts)
    statement = statement.on_conflict_do_update(
        index_elements=[login_attempts.c.name], set_={"count": login_attempts.c.count + 1}
    ).returning(login_attempts.c.count.label("attempts"), login_attempts.c.window_ends_at)
    rows = await database.write(statement, {"name": name, "count": 1, "window_ends_at": now + window})
    # SQLite keeps times without their zone.
    return rows[0]["attempts"], rows[0]["window_ends_at"].replace(tzinfo=UTC)


async def forget_login_attempts(database: Database, name: str) -> None:
    """Start counting from zero after a right password."""
    statement = delete(login_attempts).where(login_attempts.c.name == bindparam("the_name"))
    await database.write(statement.returning(login_attempts.c.name), {"the_name": name})
