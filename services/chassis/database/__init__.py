"""The database of a service: functions with a connection, run in a few threads beside the event loop.

`store.py` has `def find(connection: Connection, owner: str) -> Row`, and a route calls it by
`await database.read(store.find, owner)`.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar, TypeVarTuple

from sqlalchemy import Connection, CursorResult, Engine, event, exc, text

from services.chassis.application import from_state
from services.chassis.database.engine import DatabaseSettings, create_engines, interrupt
from services.chassis.database.schema import migrate
from services.chassis.problems import Problem

# A row by the names of its columns.
Row = dict[str, Any]
T = TypeVar("T")
V = TypeVar("V")
Arguments = TypeVarTuple("Arguments")
# Few, so that searches leave the processor to the others. Waiting for a thread counts towards the timeout.
SEARCHES_AT_ONCE = 2
# SQLite has one writer at a time.
WRITES_AT_ONCE = {"postgresql": 4, "sqlite": 1}

log = logging.getLogger("database")


class Database:
    """Runs the functions of `store.py`. Only plain data may leave them: results of SQLAlchemy belong to a connection.

    Each method raises a Problem when the database cannot do it in time: 503, or 507 when its disk is full.
    """

    def __init__(self, settings: DatabaseSettings, migrations: Path) -> None:
        """migrations: the folder with Alembic's revisions. Raises ValueError if the database can never be opened."""
        self._engines = create_engines(settings)
        reads, writes = self._engines
        # All open connections, so that none outlives the service.
        self._connections: set[Any] = set()
        for engine in self._engines:
            event.listen(engine, "connect", lambda connection, _: self._connections.add(connection))
            event.listen(engine, "close", lambda connection, _: self._connections.discard(connection))
        self.dialect = reads.dialect.name
        self._timeout, self._migrations = settings.database_timeout, migrations
        writers = ThreadPoolExecutor(WRITES_AT_ONCE[self.dialect], "write")
        self._reads = ReadLane(reads, ThreadPoolExecutor(1, "read"), in_batches=True)
        self._searches = ReadLane(reads, ThreadPoolExecutor(SEARCHES_AT_ONCE, "search"))
        self._checks = ReadLane(reads, ThreadPoolExecutor(1, "check"), in_batches=True)
        self._writes = WriteLane(writes, writers)
        self._inserts = InsertLane(writes, writers, in_batches=True)
        self._is_prepared = False

    async def read(self, function: Callable[[Connection, *Arguments], T], *arguments: *Arguments) -> T:
        """Return what the function reads, which must be quick: all reads have one thread."""
        return await self._in_time(self._reads.add(function, *arguments))

    async def search(self, function: Callable[[Connection, *Arguments], T], *arguments: *Arguments) -> T:
        """Return what the function reads, which may take as long as the time limit."""
        late = f"The search took longer than {self._timeout:g} s."
        return await self._in_time(self._searches.add(function, *arguments), late)

    async def write(self, function: Callable[[Connection, *Arguments], T], *arguments: *Arguments) -> T:
        """Return what the function returns, once its changes are durable: all of them are one transaction."""
        return await self._in_time(self._writes.add(function, *arguments))

    async def insert(self, function: Callable[[Connection, Sequence[V]], Sequence[T]], value: V) -> T:
        """Return what the function returns for this value, once it is durable.

        The function gets the values of several callers, in one transaction, and returns a result for each, in order.
        So it may only add rows: transactions that change the same rows in different orders would deadlock.
        """
        return await self._in_time(self._inserts.add(function, value))

    async def check(self) -> None:
        """Raise a Problem when the database cannot be used now. Waits for no other call."""
        if not self._is_prepared:
            raise Problem(503, "The database is not prepared yet.")
        await self._in_time(self._checks.add(_select_one))

    @asynccontextmanager
    async def running(self, prepare: Callable[[], Awaitable[None]] | None = None) -> AsyncIterator[None]:
        """Bring the schema up to date, as soon as the database can be reached; in the end close all connections.

        prepare: run after that until it succeeds once; then the service is ready.
        """
        migration = asyncio.create_task(self._prepare(prepare))
        # The migration usually takes milliseconds. Without a database the service still starts, and is not ready.
        await asyncio.wait([migration], timeout=1)
        yield
        # The server has answered all requests, or given them up. What still runs, such as a migration, is interrupted.
        migration.cancel()
        for connection in list(self._connections):
            interrupt(connection)
        for engine in self._engines:
            engine.dispose()

    async def _prepare(self, prepare: Callable[[], Awaitable[None]] | None) -> None:
        while not self._is_prepared:
            try:
                await asyncio.to_thread(migrate, *self._engines, self._migrations)
                if prepare:
                    await prepare()
                self._is_prepared = True
            except Exception as error:
                log.warning("The database cannot be prepared yet: %r", getattr(error, "orig", error))
                await asyncio.sleep(1)

    async def _in_time(self, result: asyncio.Future[T], late: str = "The database did not answer in time.") -> T:
        try:
            async with asyncio.timeout(self._timeout):
                return await result
        except TimeoutError as error:
            # A write that timed out may have been committed.
            raise Problem(503, late, headers={"Retry-After": "1"}) from error
        except exc.DBAPIError as error:
            if problem := _problem(error):
                log.error("The database failed: %r", error.orig)  # noqa: TRY400 - where in our code says nothing
                raise problem from error
            raise


class Call(NamedTuple):
    """A function that waits for a thread, and the future of its result."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    result: asyncio.Future[Any]


class Lane:
    """Calls of one kind, and the threads that run them; a statement whose callers have all left is interrupted."""

    def __init__(self, engine: Engine, threads: ThreadPoolExecutor, *, in_batches: bool = False) -> None:
        """in_batches: one thread takes all calls that wait, as waking it takes as long as a short read."""
        self._engine, self._threads, self._in_batches = engine, threads, in_batches
        self._waiting: deque[Call] = deque()
        # The driver's connections at work, and those who wait for each.
        self._running: dict[Any, Sequence[Call]] = {}
        self._lock = threading.Lock()

    def add(self, function: Callable[..., Any], *arguments: Any) -> asyncio.Future[Any]:
        """Return the future of what the function returns; to cancel it is to give the call up."""
        result: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        result.add_done_callback(self._interrupt_abandoned)
        call = Call(function, arguments, result)
        self._waiting.append(call)
        # While calls wait, a thread is on its way that takes the whole batch.
        if not self._in_batches or len(self._waiting) == 1:
            try:
                self._threads.submit(self._work)
            except RuntimeError:  # No thread can be started.
                self._waiting.remove(call)
                raise
        return result

    def _work(self) -> None:
        calls: list[Call] = []
        with suppress(IndexError):
            while not calls or self._in_batches:
                calls.append(self._waiting.popleft())
        if calls := [call for call in calls if not call.result.done()]:
            try:
                outcomes = self._run(calls)
            except BaseException as error:
                outcomes = [error] * len(calls)
            calls[0].result.get_loop().call_soon_threadsafe(_deliver, calls, outcomes)

    def _run(self, calls: Sequence[Call]) -> Sequence[Any]:
        """Return the result or the exception of each call."""
        raise NotImplementedError

    @contextmanager
    def _interruptible(self, connection: Connection, callers: Sequence[Call]) -> Iterator[None]:
        driver = connection.connection.driver_connection
        with self._lock:
            self._running[driver] = callers
        try:
            # From here on the statement is interrupted when the callers leave; they may have left while it waited.
            _raise_if_abandoned(callers)
            yield
        finally:
            with self._lock:
                del self._running[driver]

    def _interrupt_abandoned(self, result: asyncio.Future[Any]) -> None:
        if result.cancelled():
            with self._lock:
                for driver, callers in self._running.items():
                    if _are_gone(callers):
                        interrupt(driver)


class ReadLane(Lane):
    """Calls that change nothing."""

    def _run(self, calls: Sequence[Call]) -> Sequence[Any]:
        with self._engine.connect() as connection:
            return [self._read(connection, call, repeat=True) for call in calls]

    def _read(self, connection: Connection, call: Call, *, repeat: bool) -> Any:
        try:
            with self._interruptible(connection, [call]):
                return call.function(connection, *call.arguments)
        except BaseException as error:
            # Without this, SQLAlchemy refuses to reconnect.
            connection.rollback()
            # After a restart of the database, every connection in the pool is broken.
            is_broken = isinstance(error, exc.DBAPIError) and error.connection_invalidated
            if is_broken and repeat and not call.result.done():
                return self._read(connection, call, repeat=False)
            return error


class WriteLane(Lane):
    """Calls that are a transaction each."""

    def _run(self, calls: Sequence[Call]) -> Sequence[Any]:
        return [self._write(call.function, call.arguments, [call]) for call in calls]

    def _write(self, function: Callable[..., Any], arguments: Sequence[Any], callers: Sequence[Call]) -> Any:
        try:
            with self._engine.connect() as connection, self._interruptible(connection, callers), connection.begin():
                result = function(connection, *arguments)
                # Rolled back: what was answered as a failure must not be committed.
                _raise_if_abandoned(callers)
                return result
        except BaseException as error:
            return error


class InsertLane(WriteLane):
    """Calls with one value each; those of the same function run as one call with all values, in one transaction.

    A commit to a disk takes as long for fifty rows as for one.
    """

    def _run(self, calls: Sequence[Call]) -> Sequence[Any]:
        groups = [list(group) for _, group in groupby(calls, lambda call: call.function)]
        return [outcome for group in groups for outcome in self._insert(group)]

    def _insert(self, calls: Sequence[Call]) -> Sequence[Any]:
        outcome = self._write(calls[0].function, [[value for call in calls for value in call.arguments]], calls)
        if isinstance(outcome, exc.DataError | exc.IntegrityError) and len(calls) > 1:
            # The database refuses one of the rows: only that one may fail.
            return [each for call in calls for each in self._insert([call])]
        return [outcome] * len(calls) if isinstance(outcome, BaseException) else outcome


def rows_of(result: CursorResult[Any]) -> list[Row]:
    """Return all rows of a result as plain data."""
    names = tuple(result.keys())
    return [dict(zip(names, row, strict=True)) for row in result.all()]


def _are_gone(callers: Sequence[Call]) -> bool:
    return all(call.result.done() for call in callers)


def _raise_if_abandoned(callers: Sequence[Call]) -> None:
    if _are_gone(callers):
        raise asyncio.CancelledError


def _deliver(calls: Sequence[Call], outcomes: Sequence[Any]) -> None:
    for call, outcome in zip(calls, outcomes, strict=True):
        if call.result.done():
            continue
        if isinstance(outcome, BaseException):
            call.result.set_exception(outcome)
        else:
            call.result.set_result(outcome)


def _problem(error: exc.DBAPIError) -> Problem | None:
    """Return the problem of a database that is away or full; None for a mistake in our own SQL."""
    name, state = getattr(error.orig, "sqlite_errorname", ""), getattr(error.orig, "sqlstate", "")
    if name == "SQLITE_FULL" or state == "53100":
        return Problem(507, "The disk of the database is full; nothing was changed.")
    is_away = isinstance(error, exc.OperationalError | exc.InterfaceError) and name != "SQLITE_ERROR"
    # 25006: a demoted primary server, which is read-only now.
    if is_away or state == "25006":
        return Problem(503, "The database cannot be used.", headers={"Retry-After": "1"})
    return None


def _select_one(connection: Connection) -> None:
    connection.execute(text("SELECT 1"))


# What a route asks for to use the database.
DatabaseDep = Annotated[Database, from_state("database")]
