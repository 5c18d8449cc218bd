"""The database of a service: runs Python functions that execute SQL, in threads, so that the event loop is not blocked.

A statement that exceeds DATABASE_TIMEOUT is interrupted (engine.py), and the service answers 503; behind the mesh a
read ends sooner, by its per-try timeout.

Each function takes a connection first: `def find(connection: Connection, owner: str) -> Row`. A route runs it with
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

from sqlalchemy import Connection, CursorResult, Engine, exc, text

from services.chassis.application import from_state
from services.chassis.database.engine import DatabaseSettings, create_engines, interrupt, is_outdated
from services.chassis.database.schema import migrate
from services.chassis.problems import Problem

# A row, by column name.
Row = dict[str, Any]
T = TypeVar("T")
V = TypeVar("V")
Arguments = TypeVarTuple("Arguments")
# Few, so that searches leave the processor to other requests. Waiting for a thread counts towards the timeout.
SEARCHES_AT_ONCE = 2
# SQLite has one writer at a time.
WRITES_AT_ONCE = {"postgresql": 4, "sqlite": 1}

log = logging.getLogger("database")


class Database:
    """Runs functions that execute SQL. They return plain data only, as SQLAlchemy's results belong to a connection.

    `read`, `search`, `write`, `insert` and `check` raise a Problem if the database is unavailable or times out (503),
    or its disk is full (507).
    """

    def __init__(self, settings: DatabaseSettings, migrations: Path) -> None:
        """migrations: the folder with Alembic's revisions. Raises ValueError if SQLite's file can never be used."""
        self._engines = create_engines(settings)
        reads, writes = self._engines
        self.dialect = reads.dialect.name
        self._timeout, self._migrations = settings.database_timeout, migrations
        self._writers = ThreadPoolExecutor(WRITES_AT_ONCE[self.dialect], "write")
        self._reads = ReadQueue(reads, ThreadPoolExecutor(1, "read"), in_batches=True)
        self._searches = ReadQueue(reads, ThreadPoolExecutor(SEARCHES_AT_ONCE, "search"))
        self._checks = ReadQueue(reads, ThreadPoolExecutor(1, "check"), in_batches=True)
        self._writes = WriteQueue(writes, self._writers)
        self._inserts = InsertQueue(writes, self._writers, in_batches=True)
        self._is_migrated = asyncio.Event()
        self._is_prepared = False

    async def read(self, function: Callable[[Connection, *Arguments], T], *arguments: *Arguments) -> T:
        """Run a function that reads, and is quick: all reads share one thread."""
        return await self._in_time(lambda: self._reads.submit(function, *arguments))

    async def search(self, function: Callable[[Connection, *Arguments], T], *arguments: *Arguments) -> T:
        """Run a function that reads, and may take up to the timeout."""
        timed_out = f"The search took longer than {self._timeout:g} s."
        return await self._in_time(lambda: self._searches.submit(function, *arguments), timed_out)

    async def write(self, function: Callable[[Connection, *Arguments], T], *arguments: *Arguments) -> T:
        """Run a function in a transaction of its own; return its result once that is committed."""
        return await self._in_time(lambda: self._writes.submit(function, *arguments))

    async def insert(self, function: Callable[[Connection, Sequence[V]], Sequence[T]], value: V) -> T:
        """Return the function's result for this value, once it is committed.

        The function gets the values of several requests, in one transaction, and returns a result for each, in order.
        It may only add rows: transactions that change the same rows in different orders would deadlock.
        """
        return await self._in_time(lambda: self._inserts.submit(function, value))

    async def check(self) -> None:
        """Raise a Problem unless the database is prepared and answers. In its own thread: it does not wait for jobs."""
        if not self._is_prepared:
            raise Problem(503, "The database is not prepared yet.")
        await self._in_time(lambda: self._checks.submit(_select_one))

    @asynccontextmanager
    async def running(self, prepare: Callable[[], Awaitable[None]] | None = None) -> AsyncIterator[None]:
        """Migrate the schema as soon as the database is available; on shutdown close all connections.

        prepare: run after the migration, until it succeeds once; then the service is ready.
        """
        migration = asyncio.create_task(self._prepare(prepare))
        # The migration usually takes milliseconds. Without a database the service still starts, and is not ready.
        await asyncio.wait([migration], timeout=1)
        yield
        # All requests are answered or cancelled. A migration that still runs ends with the process (start.py).
        migration.cancel()
        for engine in self._engines:
            engine.dispose()

    async def _prepare(self, prepare: Callable[[], Awaitable[None]] | None) -> None:
        while not self._is_prepared:
            try:
                # Not in a thread of the event loop, which would wait for it when the service stops.
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(self._writers, migrate, *self._engines, self._migrations)
                self._is_migrated.set()
                if prepare:
                    await prepare()
                self._is_prepared = True
            except Exception as error:
                log.warning("The database cannot be prepared yet: %r", getattr(error, "orig", error))
                await asyncio.sleep(1)

    async def _in_time(
        self, submit: Callable[[], asyncio.Future[T]], timed_out: str = "The database did not answer in time."
    ) -> T:
        try:
            async with asyncio.timeout(self._timeout):
                # With socket activation, requests may arrive before the migration.
                await self._is_migrated.wait()
                return await submit()
        except TimeoutError as error:
            # A write that timed out may have been committed.
            raise Problem(503, timed_out, headers={"Retry-After": "1"}) from error
        except exc.DBAPIError as error:
            if problem := _problem(error):
                log.error("The database failed: %r", error.orig)  # noqa: TRY400 - our traceback does not help
                raise problem from error
            raise


class Job(NamedTuple):
    """A function to run with a connection, and the future of its result."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    result: asyncio.Future[Any]


class JobQueue:
    """Jobs of one kind, and the threads that run them. A statement is interrupted when all its jobs are cancelled."""

    def __init__(self, engine: Engine, threads: ThreadPoolExecutor, *, in_batches: bool = False) -> None:
        """in_batches: one thread takes all waiting jobs, as waking a thread costs as much as a short read."""
        self._engine, self._threads, self._in_batches = engine, threads, in_batches
        self._waiting: deque[Job] = deque()
        # The driver's connections in use, and the jobs of each.
        self._running: dict[Any, Sequence[Job]] = {}
        self._lock = threading.Lock()

    def submit(self, function: Callable[..., Any], *arguments: Any) -> asyncio.Future[Any]:
        """Return the future of the function's result. Cancelling it cancels the job."""
        result: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        result.add_done_callback(self._interrupt_cancelled)
        job = Job(function, arguments, result)
        self._waiting.append(job)
        # If other jobs wait already, a thread has been scheduled that will take the whole batch.
        if not self._in_batches or len(self._waiting) == 1:
            try:
                self._threads.submit(self._work)
            except RuntimeError:  # No thread can be started.
                self._waiting.remove(job)
                raise
        return result

    def _work(self) -> None:
        jobs: list[Job] = []
        with suppress(IndexError):
            jobs.append(self._waiting.popleft())
            while self._in_batches:
                jobs.append(self._waiting.popleft())
        if jobs := [job for job in jobs if not job.result.done()]:
            try:
                outcomes = self._run(jobs)
            except BaseException as error:
                outcomes = [error] * len(jobs)
            # All at once: waking the event loop for each takes longer than a short read.
            jobs[0].result.get_loop().call_soon_threadsafe(_deliver, jobs, outcomes)

    def _run(self, jobs: Sequence[Job]) -> Sequence[Any]:
        """Return the result or the exception of each job."""
        raise NotImplementedError

    @contextmanager
    def _interruptible(self, connection: Connection, jobs: Sequence[Job]) -> Iterator[None]:
        driver = connection.connection.driver_connection
        with self._lock:
            self._running[driver] = jobs
        try:
            # A job that was cancelled before it was registered here has not been interrupted.
            _raise_if_cancelled(jobs)
            yield
        finally:
            with self._lock:
                del self._running[driver]

    def _interrupt_cancelled(self, result: asyncio.Future[Any]) -> None:
        if result.cancelled():
            with self._lock:
                for driver, jobs in self._running.items():
                    if _are_cancelled(jobs):
                        interrupt(driver)


class ReadQueue(JobQueue):
    """Jobs that only read."""

    def _run(self, jobs: Sequence[Job]) -> Sequence[Any]:
        with self._engine.connect() as connection:
            return [self._read(connection, job, repeat=True) for job in jobs]

    def _read(self, connection: Connection, job: Job, *, repeat: bool) -> Any:
        try:
            with self._interruptible(connection, [job]):
                return job.function(connection, *job.arguments)
        except BaseException as error:
            # Without this, SQLAlchemy refuses to reconnect.
            connection.rollback()
            if repeat and _is_disconnected(error) and not job.result.done():
                return self._read(connection, job, repeat=False)
            return error


class WriteQueue(JobQueue):
    """Jobs that write, each in a transaction of its own."""

    def _run(self, jobs: Sequence[Job]) -> Sequence[Any]:
        return [self._write(job.function, job.arguments, [job], repeat=True) for job in jobs]

    def _write(
        self, function: Callable[..., Any], arguments: Sequence[Any], jobs: Sequence[Job], *, repeat: bool
    ) -> Any:
        is_begun = False
        try:
            with self._engine.connect() as connection, self._interruptible(connection, jobs), connection.begin():
                # Instead of pool_pre_ping, whose ping cannot be interrupted: a frozen server would block the thread.
                _select_one(connection)
                is_begun = True
                result = function(connection, *arguments)
                # Rolls back if the caller has timed out. After a timeout during COMMIT, the write may be committed.
                _raise_if_cancelled(jobs)
                return result
        except BaseException as error:
            # With a stale prepared statement (engine.py), the whole transaction was rolled back.
            is_undone = not is_begun or is_outdated(getattr(error, "orig", None))
            if repeat and is_undone and _is_disconnected(error) and not _are_cancelled(jobs):
                return self._write(function, arguments, jobs, repeat=False)
            return error


class InsertQueue(WriteQueue):
    """Jobs that insert one value each (group commit): adjacent ones of the same function run as one, with all values.

    A commit to a disk takes about as long for fifty rows as for one.
    """

    def _run(self, jobs: Sequence[Job]) -> Sequence[Any]:
        groups = [list(group) for _, group in groupby(jobs, lambda job: job.function)]
        return [outcome for group in groups for outcome in self._insert(group)]

    def _insert(self, jobs: Sequence[Job]) -> Sequence[Any]:
        outcome = self._write(jobs[0].function, [[job.arguments[0] for job in jobs]], jobs, repeat=True)
        if isinstance(outcome, exc.DataError | exc.IntegrityError) and len(jobs) > 1:
            # The database rejected one of the rows: only its job fails.
            return [each for job in jobs for each in self._insert([job])]
        return [outcome] * len(jobs) if isinstance(outcome, BaseException) else outcome


def rows_of(result: CursorResult[Any]) -> list[Row]:
    """Return all rows of a result as plain data."""
    names = tuple(result.keys())
    return [dict(zip(names, row, strict=True)) for row in result.all()]


def _is_disconnected(error: BaseException) -> bool:
    """Return whether the connection is broken, as after a restart of the database, or has a stale statement."""
    return isinstance(error, exc.DBAPIError) and error.connection_invalidated


def _are_cancelled(jobs: Sequence[Job]) -> bool:
    return all(job.result.done() for job in jobs)


def _raise_if_cancelled(jobs: Sequence[Job]) -> None:
    if _are_cancelled(jobs):
        raise asyncio.CancelledError


def _deliver(jobs: Sequence[Job], outcomes: Sequence[Any]) -> None:
    for job, outcome in zip(jobs, outcomes, strict=True):
        if job.result.done():
            continue
        if isinstance(outcome, BaseException):
            job.result.set_exception(outcome)
        else:
            job.result.set_result(outcome)


def _problem(error: exc.DBAPIError) -> Problem | None:
    """Return the problem of a database that is unavailable or full; None for a bug in our own SQL."""
    name, state = getattr(error.orig, "sqlite_errorname", ""), getattr(error.orig, "sqlstate", "")
    if name == "SQLITE_FULL" or state == "53100":
        return Problem(507, "The disk of the database is full; nothing was changed.")
    is_unavailable = isinstance(error, exc.OperationalError | exc.InterfaceError) and name != "SQLITE_ERROR"
    # 25006: a demoted primary server, which is read-only now.
    if is_unavailable or state == "25006":
        return Problem(503, "The database is unavailable.", headers={"Retry-After": "1"})
    return None


def _select_one(connection: Connection) -> None:
    connection.execute(text("SELECT 1"))


# The dependency of a route on the database.
DatabaseDep = Annotated[Database, from_state("database")]
