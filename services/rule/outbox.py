"""The transactional outbox: events that are still to be sent. All SQL of it.

`store.py` adds an event in the transaction of the change that it tells of: either both are durable, or neither.
`relay.py` sends what is here.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple
from uuid import uuid4

from sqlalchemy import Connection, delete, func, insert, select, update

from services.chassis.database import Row, rows_of
from services.rule.models import outbox

# Seconds until an event is sent again: the first after one failure, then twice as long each time, up to the longest.
FIRST_BACKOFF, LONGEST_BACKOFF = 1, 60


class Happened(StrEnum):
    """What can happen to an item: the types of the events."""

    CREATED = "todolist.item.created"
    DONE = "todolist.item.done"
    REOPENED = "todolist.item.reopened"
    DELETED = "todolist.item.deleted"


class Cause(NamedTuple):
    """The request that makes a change; its trace goes on with the event."""

    traceparent: str | None


class Waiting(NamedTuple):
    """How many events wait, and since when the oldest does."""

    events: int
    since: datetime | None


def add(connection: Connection, events: Sequence[tuple[Happened, Row, Cause]]) -> None:
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
    """Delete what was delivered, put off what failed, and claim up to so many events that are due.

    What is claimed belongs to the caller until the lease ends. If it dies, the event is due again then.
    """
    now = datetime.now(UTC)
    if delivered:
        connection.execute(delete(outbox).where(outbox.c.id.in_([event["id"] for event in delivered])))
    for event in failed:
        backoff = timedelta(seconds=min(FIRST_BACKOFF * 2 ** event["attempts"], LONGEST_BACKOFF))
        connection.execute(update(outbox).where(outbox.c.id == event["id"]).values(due_at=now + backoff))
    # What never failed comes first: events that fail again and again hold up no others. SKIP LOCKED: what another
    # replica claims at this moment is not waited for. (SQLite has no such clause, and one writer at a time.)
    due = select(outbox).where(outbox.c.due_at <= now).order_by(outbox.c.attempts, outbox.c.due_at).limit(limit)
    claimed = rows_of(connection.execute(due.with_for_update(skip_locked=True)))
    if claimed:
        mine = update(outbox).where(outbox.c.id.in_([event["id"] for event in claimed]))
        connection.execute(mine.values(attempts=outbox.c.attempts + 1, due_at=now + lease))
    return claimed


def waiting(connection: Connection) -> Waiting:
    """Return how many events wait, those included that are being sent."""
    return Waiting(*connection.execute(select(func.count(), func.min(outbox.c.happened_at)).select_from(outbox)).one())
