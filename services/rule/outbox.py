"""The transactional outbox: events that are not delivered yet, and all SQL for them.

`store.py` adds an event in the transaction of its change: either both are durable, or neither.
`relay.py` sends the events.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple
from uuid import uuid4

from sqlalchemy import Connection, delete, func, insert, select, update

from services.chassis.database import Row, rows_of
from services.rule.models import outbox

# Exponential backoff, in seconds: after the first failure, then doubled each time, up to the longest.
FIRST_BACKOFF, LONGEST_BACKOFF = 1, 60


class EventType(StrEnum):
    """The types of the events: what happened to an item."""

    CREATED = "todolist.item.created"
    DONE = "todolist.item.done"
    REOPENED = "todolist.item.reopened"
    DELETED = "todolist.item.deleted"


class Cause(NamedTuple):
    """The request that caused a change: its trace continues with the event."""

    traceparent: str | None


class Waiting(NamedTuple):
    """The number of undelivered events, and the time of the oldest."""

    events: int
    since: datetime | None


def add(connection: Connection, events: Sequence[tuple[EventType, Row, Cause]]) -> None:
    """Add events, each with the row of its item, in the transaction of the change."""
    now = datetime.now(UTC)
    rows = [
        {
            "id": str(uuid4()),
            "type": happened,
            "owner": item["owner"],
            "item_id": item["id"],
            "item_name": item["name"],
            "traceparent": cause.traceparent,
            "happened_at": now,
            "attempts": 0,
            "due_at": now,
        }
        for happened, item, cause in events
    ]
    if rows:
        connection.execute(insert(outbox), rows)


def settle_and_claim(
    connection: Connection, delivered: Sequence[Row], failed: Sequence[Row], limit: int, lease: timedelta
) -> list[Row]:
    """Delete delivered events, reschedule failed ones, and claim due ones, up to the limit.

    A claimed event belongs to this replica until the lease ends. If the replica dies, the event is due again then.
    """
    now = datetime.now(UTC)
    if delivered:
        connection.execute(delete(outbox).where(outbox.c.id.in_([event["id"] for event in delivered])))
    for event in failed:
        backoff = timedelta(seconds=min(FIRST_BACKOFF * 2 ** event["attempts"], LONGEST_BACKOFF))
        connection.execute(update(outbox).where(outbox.c.id == event["id"]).values(due_at=now + backoff))
    # Fewest attempts first, so that events that keep failing do not block the others. SKIP LOCKED: events that another
    # replica is claiming are skipped. (SQLite has no such clause, and one writer at a time.)
    due = select(outbox).where(outbox.c.due_at <= now).order_by(outbox.c.attempts, outbox.c.due_at).limit(limit)
    claimed = rows_of(connection.execute(due.with_for_update(skip_locked=True)))
    if claimed:
        mine = update(outbox).where(outbox.c.id.in_([event["id"] for event in claimed]))
        connection.execute(mine.values(attempts=outbox.c.attempts + 1, due_at=now + lease))
    return claimed


def waiting(connection: Connection) -> Waiting:
    """Count the undelivered events, including those that are being sent."""
    return Waiting(*connection.execute(select(func.count(), func.min(outbox.c.happened_at)).select_from(outbox)).one())
