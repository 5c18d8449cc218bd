"""The database of a service: short reads, grouped durable writes, and a schema that is brought up to date at start.

One way for SQLite and PostgreSQL: the driver's calls block, and run in a few threads. Connections are
in autocommit mode; a read is one statement; a write is one statement too, and the writes that wait
while a commit is under way share the next one.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from math import ceil
from pathlib import Path
from threading import Lock
from traceback import clear_frames
from typing import Annotated, Any, TypeVar

from pydantic import Field, field_validator
from sqlalchemy import URL, Connection, Dialect, Engine, Executable, Insert, Row, create_engine, event, make_url, text
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, DisconnectionError

from services.chassis.problems import Problem
from services.chassis.settings import Seconds, Settings

log = logging.getLogger("database")

T = TypeVar("T")
Rows = Sequence[Row[Any]]
# Bounds what one commit holds and what may wait for it: beyond this the service is overloaded.
GROUP_SIZE = 64
QUEUE_SIZE = 1024
# Any number, the same for all replicas: the key of PostgreSQL's advisory lock around a migration.
MIGRATION_LOCK = 7_305_801


class DatabaseSettings(Settings):
    """Adds the database of a service that keeps state."""

    database_url: str
    database_timeout: Seconds = 5
    database_pool_size: Annotated[int, Field(gt=0)] = 5

    @field_validator("database_url")
    @classmethod
    def _has_a_supported_scheme(cls, value: str) -> str:
        driver_url(value)
        return value


def driver_url(value: str) -> URL:
    """Return the SQLAlchemy URL, with its driver, of a `sqlite:///file` or `postgresql://…` address.

    Raises ValueError for any other address.
    """
    drivers = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}
    try:
        url = make_url(value)
        driver = drivers[url.get_backend_name()]
    except (ArgumentError, KeyError, ValueError):
        raise ValueError("is neither sqlite:///file nor postgresql://user:password@host/database") from None
    if not url.database:
        raise ValueError("names no database")
    return url.set(drivername=driver)


def _close_failed_attempts(engine: Engine) -> None:
    """Close the socket of a failed attempt to connect at once, not with the next collection of garbage.

    psycopg's frames keep it, and refer to each other; a server that was frozen would open a session for each.
    """

    @event.listens_for(engine, "do_connect")
    def _connect(dialect: Dialect, _: Any, arguments: Sequence[Any], options: Mapping[str, Any]) -> DBAPIConnection:
        try:
            return dialect.connect(*arguments, **options)
        except Exception as error:
            clear_frames(error.__traceback__)
            raise


def _renew_after_failure(engine: Engine) -> None:
    """When a connection breaks, renew all that are as old, each as soon as it is needed.

    SQLAlchemy tells their age by the wall clock: after that was put back it would renew them at each use, or never.
    """
    generation = 0

    @event.listens_for(engine, "connect")
    def _connected(_: Any, record: Any) -> None:
        record.info["generation"] = generation

    @event.listens_for(engine, "handle_error")
    def _failed(context: ExceptionContext) -> None:
        context.invalidate_pool_on_disconnect = False

    @event.listens_for(engine, "invalidate")
    def _broke(_: Any, record: Any, error: BaseException | None) -> None:
        nonlocal generation
        # One that somebody else has replaced meanwhile, or that we gave up, says nothing of the others.
        if error and record.info["generation"] == generation:
            generation += 1

    @event.listens_for(engine, "checkout")
    def _needed(_: Any, record: Any, __: Any) -> None:
        if record.info["generation"] != generation:
            # Told so, the pool makes a new connection.
            raise DisconnectionError


@dataclass(slots=True)
class Write:
    """A statement that waits for its commit, and the future of its rows."""

    statement: Executable
    parameters: Mapping[str, Any]
    rows: asyncio.Future[Rows] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Lease:
    """The connection that a thread uses, for as long as it does; it can be cut from another thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._driver: Any = None
        self._is_cut = False
        self._lock = Lock()

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Take a connection from the pool. Raises TimeoutError when the lease was cut in the meantime."""
        with self._engine.connect() as connection:
            with self._lock:
                if self._is_cut:
                    raise TimeoutError
                self._driver = connection.connection.driver_connection
            try:
                yield connection
            finally:
                with self._lock:
                    self._driver = None

    def cut(self) -> None:
        """End what the connection is doing: the thread that waits for it gets an error at once."""
        with self._lock:
            self._is_cut = True
            if self._driver is None:
                return
            if self._engine.dialect.name == "sqlite":
                self._driver.interrupt()
            elif not self._driver.closed:
                with socket.socket(fileno=os.dup(self._driver.fileno())) as wire:
                    wire.shutdown(socket.SHUT_RDWR)


class Database:
    """Threads that read, and one that commits, each with a connection of its own.

    Every method raises a Problem when the database cannot do it in time: 503, or 507 when its disk is full.
    """

    def __init__(self, settings: DatabaseSettings, migrations: Path) -> None:
        url = driver_url(settings.database_url)
        self._timeout = settings.database_timeout
        self._migrations = migrations
        self.dialect = url.get_backend_name()
        self._is_sqlite = self.dialect == "sqlite"
        self._engine = self._create_engine(url, settings.database_pool_size + 1)
        self._readers = ThreadPoolExecutor(settings.database_pool_size, "reader")
        self._writer = ThreadPoolExecutor(1, "writer")
        self._queue: asyncio.Queue[Write] = asyncio.Queue(QUEUE_SIZE)
        self._tasks: list[asyncio.Task[None]] = []
        self._migrated = False

    def _create_engine(self, url: URL, pool_size: int) -> Engine:
        if self._is_sqlite:
            Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(
            url,
            isolation_level="AUTOCOMMIT",
            # In autocommit mode there is nothing to roll back when a connection is returned.
            skip_autocommit_rollback=True,
            pool_reset_on_return=None,
            pool_size=pool_size,
            max_overflow=0,
            connect_args={"timeout": self._timeout}
            if self._is_sqlite
            # libpq takes whole seconds. Text is UTF-8 also where a database was created without an encoding.
            else {"connect_timeout": ceil(self._timeout), "client_encoding": "utf8"},
        )
        if self._is_sqlite:

            @event.listens_for(engine, "connect")
            def _configure(connection: Any, _: Any) -> None:
                cursor = connection.cursor()
                # FULL makes a commit durable before it is acknowledged, also in WAL mode.
                for pragma in ("journal_mode=WAL", "synchronous=FULL", "cache_size=-32000"):
                    cursor.execute(f"PRAGMA {pragma}")
                cursor.close()

        else:
            _close_failed_attempts(engine)
            _renew_after_failure(engine)
        return engine

    # Life

    async def start(self, prepare: Callable[[], Awaitable[None]] | None = None) -> None:
        """Start writing, and bring the schema up to date as soon as the database can be reached.

        prepare: run once after that, before the service is ready.
        """
        self._tasks.append(asyncio.create_task(self._commit_for_ever()))
        migrated = asyncio.create_task(self._migrate_with_retries(prepare))
        self._tasks.append(migrated)
        # The usual case takes a few milliseconds; a database that is away must not keep the service from answering.
        await asyncio.wait((migrated,), timeout=1)

    async def stop(self) -> None:
        """Finish the writes that wait, then close all connections."""
        try:
            async with asyncio.timeout(self._timeout):
                await self._queue.join()
        except TimeoutError:
            log.error(  # noqa: TRY400 - the time is up, nothing more
                "%d writes were not finished before the stop", self._queue.qsize()
            )
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for threads in (self._readers, self._writer):
            threads.shutdown(wait=False, cancel_futures=True)
        self._engine.dispose()

    async def ready(self) -> str | None:
        """Return why the database cannot be used now, or None when it can."""
        if not self._migrated:
            return "The database is not prepared yet."
        try:
            await self.read(text("SELECT 1"))
        except Problem as problem:
            return problem.detail
        return None

    async def _run(
        self, threads: ThreadPoolExecutor, seconds: float | None, work: Callable[..., T], *arguments: Any
    ) -> T:
        """Return what the work returns; cut its connection when it takes too long or nobody waits any more."""
        lease = Lease(self._engine)
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.get_running_loop().run_in_executor(threads, work, lease, *arguments)
        except (TimeoutError, asyncio.CancelledError):
            lease.cut()
            raise

    # Statements

    async def read(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> Rows:
        """Return the rows of one statement."""
        try:
            return await self._run(self._readers, self._timeout, _read, statement, parameters)
        except Exception as error:
            raise _unavailable(error) from error

    async def write(self, statement: Executable, parameters: Mapping[str, Any]) -> Rows:
        """Return the rows of one INSERT, UPDATE or DELETE … RETURNING, once its commit is durable."""
        write = Write(statement, parameters)
        try:
            self._queue.put_nowait(write)
        except asyncio.QueueFull:
            raise Problem(503, "Too many writes are waiting.", headers={"Retry-After": "1"}) from None
        try:
            # The commit under way may take its whole time: a write does not wait for it and for its own.
            async with asyncio.timeout(self._timeout):
                return await write.rows
        except Exception as error:
            raise _unavailable(error) from error

    async def _commit_for_ever(self) -> None:
        while True:
            group = [await self._queue.get()]
            while len(group) < GROUP_SIZE and not self._queue.empty():
                group.append(self._queue.get_nowait())
            # Without those whose callers have given up.
            wanted = [write for write in group if not write.rows.done()]
            results: Sequence[Rows | Exception]
            try:
                results = await self._run(self._writer, self._timeout, _commit, wanted) if wanted else ()
            except Exception as error:
                results = [error] * len(wanted)
            for write, result in zip(wanted, results, strict=True):
                if write.rows.done():
                    pass
                elif isinstance(result, Exception):
                    write.rows.set_exception(result)
                else:
                    write.rows.set_result(result)
            for _ in group:
                self._queue.task_done()

    # Schema

    async def _migrate_with_retries(self, prepare: Callable[[], Awaitable[None]] | None) -> None:
        pause = 0.1
        while True:
            try:
                await self._run(self._writer, None, _migrate, self._migrations)
                if prepare:
                    await prepare()
            except Exception as error:
                log.warning("The database cannot be prepared, trying again in %.1f s: %s", pause, _reason(error))
            else:
                self._migrated = True
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5)


# What follows runs in the threads.


def _read(lease: Lease, statement: Executable, parameters: Mapping[str, Any] | None) -> Rows:
    with lease.connection() as connection:
        return connection.execute(statement, parameters).all()


def _commit(lease: Lease, group: Sequence[Write]) -> Sequence[Rows | Exception]:
    """Run the writes in one transaction; if it fails, each on its own, so that one cannot fail the others."""
    try:
        with _transaction(lease) as connection:
            return _results(connection, group)
    except DBAPIError as error:
        if len(group) == 1 or error.connection_invalidated:
            raise
    results: list[Rows | Exception] = []
    for write in group:
        try:
            results += _commit(lease, [write])
        except DBAPIError as error:
            results.append(error)
    return results


@contextmanager
def _transaction(lease: Lease) -> Iterator[Connection]:
    with lease.connection() as connection:
        # SQLite takes its write lock at once: a reader that turns writer could not wait for it.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.dialect.name == "sqlite" else "BEGIN")
        try:
            yield connection
            connection.exec_driver_sql("COMMIT")
        except BaseException:
            # Whatever state the transaction is in ends with its connection.
            connection.invalidate()
            raise


def _results(connection: Connection, group: Sequence[Write]) -> list[Rows]:
    results: list[Rows] = []
    for statement, writes in groupby(group, key=lambda write: write.statement):
        parameters = [write.parameters for write in writes]
        if type(statement) is Insert and len(parameters) > 1:
            # One statement inserts them all, and its rows come in the order of the parameters.
            results += [[row] for row in connection.execute(statement, parameters).all()]
        else:
            results += [connection.execute(statement, values).all() for values in parameters]
    return results


def _migrate(lease: Lease, migrations: Path) -> None:
    """Bring the schema to the newest revision in the migrations folder, one replica at a time."""
    newest = max(path.name.split("_")[0] for path in (migrations / "versions").glob("[0-9]*.py"))
    with lease.connection() as connection:
        if _revision(connection) >= newest:
            return
    with _transaction(lease) as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
        # Imported here: a service whose schema is up to date starts without Alembic.
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(migrations))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _revision(connection: Connection) -> str:
    """Return the recorded revision of the schema, or "" where there is none."""
    try:
        return str(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() or "")
    except DBAPIError as error:
        if error.connection_invalidated or "alembic_version" not in str(error.orig):
            raise
        return ""


def _reason(error: BaseException) -> str:
    """Return the driver's own words in one line, without the statement and its parameters."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
    return " ".join(str(cause).split()) or type(cause).__name__


def _unavailable(error: Exception) -> Problem:
    """Return the problem that tells a failure of the database to the caller.

    Any exception is one: drivers let some of their own through, while they connect.
    """
    log.error("The database failed: %s", _reason(error))
    if isinstance(error, DBAPIError):
        name, state = (getattr(error.orig, member, "") for member in ("sqlite_errorname", "sqlstate"))
        if name == "SQLITE_FULL" or state == "53100":
            return Problem(507, "The disk of the database is full; nothing was changed.")
    is_late = isinstance(error, TimeoutError)
    detail = "The database did not answer in time." if is_late else "The database cannot be reached."
    return Problem(503, detail, headers={"Retry-After": "1"})
