"""Notices: records one for each event, counts them, and deletes expired ones.

The sender redelivers an event until it is acknowledged, so this is an *idempotent consumer*: the source and id of each
event are stored with its notice, and a unique index (models.py) makes `store.add_notices` skip a repeated one. Events
older than a notice's lifetime are ignored: their notice may have expired.
"""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated

from cachetools import LRUCache, TTLCache

from services.chassis.application import from_state
from services.chassis.database import Database
from services.chassis.problems import Problem
from services.user import store
from services.user.schemas import ItemEvent
from services.user.store import Counts

# Seconds for which a count is cached: at most one query per owner in this time, unless a notice is added or read.
COUNT_TTL = 1
# Seconds for which reading a profile waits for the count.
COUNT_TIMEOUT = 0.5
# Minimum seconds between two deletions of expired notices, which happen when an event arrives.
FORGET_EVERY = 10


class Notices:
    """The notices of all owners."""

    def __init__(self, database: Database, lifetime: float, served_by: str) -> None:
        """lifetime: of a notice, in seconds; served_by: the name of this process."""
        self._database, self._lifetime, self._served_by = database, timedelta(seconds=lifetime), served_by
        # By owner. Concurrent requests share one query.
        self._counts: TTLCache[str, asyncio.Task[Counts]] = TTLCache(maxsize=10_000, ttl=COUNT_TTL)
        self._known: LRUCache[str, Counts] = LRUCache(maxsize=10_000)
        self._forgets_at = 0.0

    async def record(self, event: ItemEvent) -> None:
        """Record an event, unless it was recorded before. Raises a Problem if the sender has to retry."""
        now = datetime.now(UTC)
        happened_at = min(event.time, now)
        if happened_at > now - self._lifetime:
            notice = {"happened_at": happened_at, "taken_at": now, "taken_by": self._served_by}
            await self._database.insert(store.add_notices, (event, notice))
            self._counts.pop(event.subject, None)
        if (loop_time := asyncio.get_running_loop().time()) > self._forgets_at:
            self._forgets_at = loop_time + min(FORGET_EVERY, self._lifetime.total_seconds())
            await self._database.write(store.forget_notices, now - self._lifetime)

    async def counts(self, owner: str) -> Counts:
        """Return an owner's total and unread counts; if the database is unavailable or slow, the last known or 0."""
        try:
            task = self._counts[owner]
        except KeyError:
            self._counts[owner] = task = asyncio.create_task(self._count(owner))
        # shield: a cancelled request does not cancel the query for the others.
        return task.result() if task.done() else await asyncio.shield(task)

    async def mark_read(self, owner: str) -> None:
        """Mark the newest notices of an owner as read, as many as are counted."""
        await self._database.write(store.mark_notices_read, owner)
        self._counts.pop(owner, None)

    async def _count(self, owner: str) -> Counts:
        with suppress(Problem, TimeoutError):
            async with asyncio.timeout(COUNT_TIMEOUT):
                self._known[owner] = await self._database.read(store.count_notices, owner)
        return self._known.get(owner, Counts())


# The dependency of a route on the notices.
NoticesDep = Annotated[Notices, from_state("notices")]
