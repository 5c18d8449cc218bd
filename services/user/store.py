"""All SQL of the user service."""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from services.chassis.database import Row, rows_of
from services.user.models import accounts, login_attempts
from services.user.names import comparable
from services.user.schemas import Authority

# Both databases know INSERT … ON CONFLICT, and SQLAlchemy has a construct for each.
INSERTS: dict[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}


def find_by_id(connection: Connection, account_id: str) -> Row | None:
    """Return the account with this id, or None."""
    # Ids are hexadecimal: other text is no account's, and PostgreSQL takes no NUL.
    if not account_id.isalnum():
        return None
    rows = rows_of(connection.execute(select(accounts).where(accounts.c.id == account_id)))
    return rows[0] if rows else None


def find_by_name(connection: Connection, name: str) -> Row | None:
    """Return the account with this name, else the one that has it in another spelling, or None."""
    form = comparable(name)
    either = or_(accounts.c.name.in_([name, form]), accounts.c.canonical_name == form)
    rows = rows_of(connection.execute(select(accounts).where(either)))
    return max(rows, key=lambda row: row["name"] == name, default=None)


def all_accounts(connection: Connection) -> list[Row]:
    """Return id, name and authority of the first 1,000 accounts by name."""
    columns = select(accounts.c.id, accounts.c.name, accounts.c.authority)
    return rows_of(connection.execute(columns.order_by(accounts.c.name).limit(1000)))


def create(connection: Connection, name: str, password_hash: str, authority: Authority) -> Row | None:
    """Create an account and return it, or None when the name is taken."""
    values = {"id": secrets.token_hex(16), "name": name, "password_hash": password_hash, "authority": authority}
    values["canonical_name"] = comparable(name)
    new = INSERTS[connection.dialect.name](accounts).values(**values, created_at=datetime.now(UTC))
    rows = rows_of(connection.execute(new.on_conflict_do_nothing().returning(*accounts.c)))
    return rows[0] if rows else None


def forget_old_login_attempts(connection: Connection) -> None:
    """Delete the attempts whose window has ended."""
    connection.execute(delete(login_attempts).where(login_attempts.c.window_ends_at < datetime.now(UTC)))


def count_login_attempt(connection: Connection, name: str, window: timedelta) -> tuple[int, datetime]:
    """Count one more attempt for a name or a device; return how many there are in its window, and when that ends (UTC).

    Counted before the password is looked at: attempts made at the same time cannot all pass.
    """
    table = login_attempts
    first = INSERTS[connection.dialect.name](table).values(
        name=name, count=1, window_ends_at=datetime.now(UTC) + window
    )
    counted = first.on_conflict_do_update(index_elements=[table.c.name], set_={"count": table.c.count + 1})
    count, window_ends_at = connection.execute(counted.returning(table.c.count, table.c.window_ends_at)).one()
    # SQLite keeps times without their zone.
    return count, window_ends_at.replace(tzinfo=UTC)


def forget_login_attempts(connection: Connection, name: str) -> None:
    """Start counting from zero after a right password."""
    connection.execute(delete(login_attempts).where(login_attempts.c.name == name))
