"""All SQL of the user service."""

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, false, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from services.chassis.database import Row, rows_of
from services.user.models import accounts, login_attempts, notices
from services.user.names import comparable
from services.user.schemas import MOST_COUNTED, Authority, ItemEvent

# Both databases support INSERT … ON CONFLICT, and SQLAlchemy has a construct for each.
INSERTS: dict[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
# How many notices are deleted in one transaction.
MOST_FORGOTTEN = 10_000


class Counts(NamedTuple):
    """How many notices there are, up to MOST_COUNTED, and how many of them are not read."""

    notify_count: int = 0
    unread_count: int = 0


def find_by_id(connection: Connection, account_id: str) -> Row | None:
    """Return the account with this id, or None."""
    # Ids are hexadecimal; and PostgreSQL does not accept NUL.
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

    Counted before the password is checked, so that concurrent attempts cannot exceed the limit.
    """
    table = login_attempts
    first = INSERTS[connection.dialect.name](table).values(
        name=name, count=1, window_ends_at=datetime.now(UTC) + window
    )
    counted = first.on_conflict_do_update(index_elements=[table.c.name], set_={"count": table.c.count + 1})
    count, window_ends_at = connection.execute(counted.returning(table.c.count, table.c.window_ends_at)).one()
    # SQLite returns times without their zone.
    return count, window_ends_at.replace(tzinfo=UTC)


def forget_login_attempts(connection: Connection, name: str) -> None:
    """Reset the count after a correct password."""
    connection.execute(delete(login_attempts).where(login_attempts.c.name == name))


def add_notices(connection: Connection, new: Sequence[tuple[ItemEvent, Row]]) -> list[None]:
    """Add a notice for each pair of an event and further columns; an event that has one already is skipped."""
    rows = [
        {
            "source": event.source,
            "event_id": event.id,
            "owner": event.subject,
            "type": event.type,
            "item_key": event.data.key,
            "item_name": event.data.name,
            "is_read": False,
            **notice,
        }
        for event, notice in new
    ]
    # In a fixed order: two replicas that receive the same events would otherwise deadlock.
    rows.sort(key=lambda row: (row["source"], row["event_id"]))
    connection.execute(INSERTS[connection.dialect.name](notices).on_conflict_do_nothing(), rows)
    return [None] * len(new)


def newest_notices(connection: Connection, owner: str) -> list[Row]:
    """Return the newest 20 notices of an owner."""
    mine = select(notices).where(notices.c.owner == owner)
    return rows_of(connection.execute(mine.order_by(notices.c.happened_at.desc(), notices.c.id.desc()).limit(20)))


def count_notices(connection: Connection, owner: str) -> Counts:
    """Count the newest notices of an owner."""
    newest = _newest(owner).subquery()
    unread = func.count().filter(newest.c.is_read == false())
    return Counts(*connection.execute(select(func.count(), unread).select_from(newest)).one())


def mark_notices_read(connection: Connection, owner: str) -> None:
    """Mark as read the notices that are counted."""
    # Locked in a fixed order: two concurrent requests would otherwise deadlock.
    newest = _newest(owner).with_for_update().subquery()
    unread = select(newest.c.id).where(newest.c.is_read == false())
    connection.execute(update(notices).where(notices.c.id.in_(unread)).values(is_read=True))


def forget_notices(connection: Connection, before: datetime) -> None:
    """Delete the notices of events before this time."""
    old = select(notices.c.id).where(notices.c.happened_at < before).limit(MOST_FORGOTTEN)
    connection.execute(delete(notices).where(notices.c.id.in_(old.with_for_update(skip_locked=True))))


def _newest(owner: str) -> Any:
    mine = select(notices.c.id, notices.c.is_read).where(notices.c.owner == owner)
    return mine.order_by(notices.c.happened_at.desc(), notices.c.id.desc()).limit(MOST_COUNTED)
