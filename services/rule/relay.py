"""The relay: sends the events of the outbox to K_SINK in the background, each at least once.

`K_SINK` is Knative's name for the URL to which a service sends its events: a Broker, or the consumer itself.
Without it no event is written or sent.
"""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from prometheus_client import Gauge

from services.chassis.application import from_state
from services.chassis.database import Database, Row
from services.chassis.problems import Problem
from services.chassis.tracing import request_headers
from services.rule import outbox
from services.rule.outbox import Cause

# How many events one replica sends concurrently, so that a slow event does not block the others.
AT_ONCE = 32
# Seconds for an event, including a cold start of the consumer.
SEND_TIMEOUT = 10
# Longer than SEND_TIMEOUT: until it ends no other replica sends the same event.
LEASE = timedelta(seconds=20)
# Seconds in which results are collected for one commit, so that the relay leaves disk and processor to requests.
GATHER = 0.05
# Seconds. A change wakes the relay; polling finds events that are due after a backoff or whose replica died.
POLL = 1
# Seconds between two rounds while the sink accepts nothing: the first, doubled each time up to the longest.
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5
# After so many failed attempts the next failure is logged as a warning, once; all others as info.
WARN_AFTER = 5
# Seconds to deliver the rest when the service stops.
DRAIN_TIMEOUT = 5

# https://www.w3.org/TR/trace-context/#traceparent-header
TRACEPARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")

# All replicas share the outbox, and so report the same values.
waiting_events = Gauge("outbox_events", "Undelivered events, including those being sent.")
oldest_event = Gauge("outbox_oldest_event_seconds", "Age of the oldest undelivered event.")

log = logging.getLogger("relay")


class Relay:
    """Sends events in the background."""

    def __init__(self, url: str | None, database: Database) -> None:
        """url: K_SINK, or None."""
        self._url, self._database = url, database
        self._sender: Any = None
        # Set by a change, at the end of each attempt, and on shutdown.
        self._wake_up = asyncio.Event()
        self._stopping = asyncio.Event()
        self._sending: set[asyncio.Task[None]] = set()
        # Results that are not written to the outbox yet.
        self._delivered: list[Row] = []
        self._failed: list[Row] = []

    def cause(self) -> Cause | None:
        """Return the cause of the current request's events; None without a sink: then no event is written."""
        if not self._url:
            return None
        traceparent = dict(request_headers.get()).get(b"traceparent", b"")
        return Cause(traceparent.decode() if TRACEPARENT.fullmatch(traceparent) else None)

    def wake(self) -> None:
        """Make the relay poll the outbox now."""
        self._wake_up.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Relay events; on shutdown try to deliver the rest within DRAIN_TIMEOUT."""
        if not self._url:
            yield
            return
        tasks = [asyncio.create_task(self._supervise(function)) for function in (self._relay, self._measure)]
        try:
            yield
        finally:
            self._stopping.set()
            self._wake_up.set()
            await asyncio.wait(tasks, timeout=DRAIN_TIMEOUT)
            tasks.extend(self._sending)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self._sender:
                await self._sender.close()

    async def _supervise(self, function: Callable[[], Awaitable[None]]) -> None:
        """Run a function as soon as the database is available; restart it when it fails."""
        while not self._stopping.is_set():
            try:
                await self._database.check()
                await function()
            except Problem:
                # The database is unavailable. Claimed events are due again when their lease ends.
                await _wait(self._stopping, POLL)
            except Exception:
                log.exception("The relay (%s) failed, and starts again", function.__name__)
                await _wait(self._stopping, POLL)

    async def _relay(self) -> None:
        pause: float = 0
        while True:
            self._wake_up.clear()
            delivered, failed = list(self._delivered), list(self._failed)
            if delivered:
                pause = 0
            elif failed:
                before, pause = pause, min(max(2 * pause, FIRST_PAUSE), LONGEST_PAUSE)
                if before < pause == LONGEST_PAUSE:
                    log.warning("%s accepts no events; up to %d are retried every %d s", self._url, AT_ONCE, pause)
                await _wait(self._stopping, pause)
            room = AT_ONCE - len(self._sending)
            if pause and self._stopping.is_set():
                room = 0  # The sink accepts nothing.
            claimed = await self._database.write(outbox.settle_and_claim, delivered, failed, room, LEASE)
            del self._delivered[: len(delivered)], self._failed[: len(failed)]
            if claimed and not self._sender:
                # In a thread: the import takes a tenth of a second, and would block requests.
                self._sender = await asyncio.to_thread(_new_sender, self._url)
            for event in claimed:
                task = asyncio.create_task(self._send(event))
                self._sending.add(task)
                task.add_done_callback(self._sending.discard)
            if self._stopping.is_set() and not (self._sending or self._delivered or self._failed):
                return
            await _wait(self._wake_up, POLL)
            if self._sending:
                await asyncio.sleep(GATHER)

    async def _send(self, event: Row) -> None:
        try:
            await self._sender.send(event)
            self._delivered.append(event)
        except Exception as error:
            # An invalid event must not block the others.
            level = logging.WARNING if event["attempts"] == WARN_AFTER else logging.INFO
            log.log(level, "Event %s was not accepted, attempt %d: %r", event["id"], event["attempts"] + 1, error)
            self._failed.append(event)
        self._wake_up.set()

    async def _measure(self) -> None:
        """Update the metrics."""
        while not self._stopping.is_set():
            found = await self._database.search(outbox.waiting)
            waiting_events.set(found.events)
            oldest_event.set((datetime.now(UTC) - found.since).total_seconds() if found.since else 0)
            await _wait(self._stopping, POLL)


def _new_sender(url: Any) -> Any:
    from services.rule.sender import Sender

    return Sender(url, SEND_TIMEOUT)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Wait for an asyncio event, with a timeout."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


# The dependency of a route on the relay.
RelayDep = Annotated[Relay, from_state("relay")]
