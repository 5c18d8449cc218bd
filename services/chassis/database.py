"""The database of a service: short reads, grouped durable writes, and a schema that is brought up to date at start.

One way for SQLite and PostgreSQL: connections are in autocommit mode; a read is one statement; a
write is one statement too, and the writes that wait while a commit is under way share the next one.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator
from sqlalchemy import URL, Executable, Insert, Row, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from services.chassis.problems import Problem
from services.chassis.settings import Seconds, Settings

log = logging.getLogger("database")

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
        async_url(value)
        return value


def async_url(value: str) -> URL:
    """Return the SQLAlchemy URL, with its async driver, of a `sqlite:///file` or `postgresql://…` address.

    Raises ValueError for any other address.
    """
    drivers = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}
    try:
        url = make_url(value)
        driver = drivers[url.get_backend_name()]
    except (ArgumentError, KeyError, ValueError):
        raise ValueError("is neither sqlite:///file nor postgresql://user:password@host/database") from None
    if not url.database:
        raise ValueError("names no database")
    return url.set(drivername=driver)


@dataclass(slots=True)
class Write:
    """A statement that waits for its commit, and the future of its rows."""

    statement: Executable
    parameters: Mapping[str, Any]
    rows: asyncio.Future[Rows] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Database:
    """A pool of connections, and the one task that commits.

    Every method raises a Problem when the database cannot do it in time: 503, or 507 when its disk is full.
    """

    def __init__(self, settings: DatabaseSettings, migrations: Path) -> None:
        self._url = async_url(settings.database_url)
        self._timeout = settings.database_timeout
        self._migrations = migrations
        self.dialect = self._url.get_backend_name()
        self._is_sqlite = self.dialect == "sqlite"
        self._engine = self._create_engine(settings.database_pool_size)
        self._queue: asyncio.Queue[Write] = asyncio.Queue(QUEUE_SIZE)
        self._tasks: list[asyncio.Task[None]] = []
        self._migrated = False

    def _create_engine(self, pool_size: int) -> AsyncEngine:
        options: dict[str, Any] = {
            "isolation_level": "AUTOCOMMIT",
            # In autocommit mode there is nothing to roll back when a connection is returned.
            "pool_reset_on_return": None,
            "pool_size": pool_size,
            "max_overflow": 0,
            "pool_timeout": self._timeout,
        }
        if self._is_sqlite:
            Path(str(self._url.database)).parent.mkdir(parents=True, exist_ok=True)
            options["connect_args"] = {"timeout": self._timeout}
        else:
            options["connect_args"] = {"timeout": self._timeout, "command_timeout": self._timeout}
        engine = create_async_engine(self._url, **options)
        if self._is_sqlite:

            @event.listens_for(engine.sync_engine, "connect")
            def _configure(connection: Any, _: Any) -> None:
                cursor = connection.cursor()
                # FULL makes a commit durable before it is acknowledged, also in WAL mode.
                for pragma in ("journal_mode=WAL", "synchronous=FULL", "cache_size=-32000"):
                    cursor.execute(f"PRAGMA {pragma}")
                cursor.close()

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
        await self._engine.dispose()

    async def ready(self) -> str | None:
        """Return why the database cannot be used now, or None when it can."""
        if not self._migrated:
            return "The database is not prepared yet."
        try:
            await self.read(text("SELECT 1"))
        except Problem as problem:
            return problem.detail
        return None

    # Statements

    async def read(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> Rows:
        """Return the rows of one statement."""
        try:
            async with asyncio.timeout(self._timeout), self._engine.connect() as connection:
                return (await connection.execute(statement, parameters)).all()
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
            return await write.rows
        except Exception as error:
            raise _unavailable(error) from error

    async def _commit_for_ever(self) -> None:
        while True:
            group = [await self._queue.get()]
            while len(group) < GROUP_SIZE and not self._queue.empty():
                group.append(self._queue.get_nowait())
            await self._commit(group)
            for _ in group:
                self._queue.task_done()

    async def _commit(self, group: list[Write]) -> None:
        """Run the writes in one transaction; if it fails, each on its own, so that one cannot fail the others."""
        try:
            async with asyncio.timeout(self._timeout), self._engine.connect() as connection:
                results = await self._transaction(connection, group)
        except Exception as error:
            if len(group) > 1 and isinstance(error, DBAPIError) and not error.connection_invalidated:
                for write in group:
                    await self._commit([write])
                return
            for write in group:
                if not write.rows.done():
                    write.rows.set_exception(error)
        else:
            for write, rows in zip(group, results, strict=True):
                if not write.rows.done():
                    write.rows.set_result(rows)

    async def _transaction(self, connection: AsyncConnection, group: list[Write]) -> list[Rows]:
        # SQLite takes its write lock at once: a reader that turns writer could not wait for it.
        await connection.exec_driver_sql("BEGIN IMMEDIATE" if self._is_sqlite else "BEGIN")
        try:
            results: list[Rows] = []
            for statement, writes in groupby(group, key=lambda write: write.statement):
                parameters = [write.parameters for write in writes]
                if type(statement) is Insert and len(parameters) > 1:
                    # One statement inserts them all, and its rows come in the order of the parameters.
                    rows = (await connection.execute(statement, parameters)).all()
                    results += [[row] for row in rows]
                else:
                    results += [(await connection.execute(statement, values)).all() for values in parameters]
            await connection.exec_driver_sql("COMMIT")
        except BaseException:
            # Whatever state the transaction is in ends with its connection.
            await connection.invalidate()
            raise
        return results

    # Schema

    async def _migrate_with_retries(self, prepare: Callable[[], Awaitable[None]] | None) -> None:
        pause = 0.1
        while True:
            try:
                async with self._engine.connect() as connection:
                    await self._migrate(connection)
                if prepare:
                    await prepare()
            except Exception as error:
                log.warning("The database cannot be prepared, trying again in %.1f s: %s", pause, _reason(error))
            else:
                self._migrated = True
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5)

    async def _migrate(self, connection: AsyncConnection) -> None:
        """Bring the schema to the newest revision in the migrations folder, one replica at a time."""
        newest = max(path.name.split("_")[0] for path in (self._migrations / "versions").glob("[0-9]*.py"))
        if await _revision(connection) >= newest:
            return
        if self._is_sqlite:
            await connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            await connection.exec_driver_sql("BEGIN")
            await connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
        try:
            await connection.run_sync(self._upgrade)
            await connection.exec_driver_sql("COMMIT")
        except BaseException:
            await connection.invalidate()
            raise

    def _upgrade(self, connection: Any) -> None:
        # Imported here: a service whose schema is up to date starts without Alembic.
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(self._migrations))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


async def _revision(connection: AsyncConnection) -> str:
    """Return the recorded revision of the schema, or "" where there is none."""
    try:
        return str((await connection.exec_driver_sql("SELECT version_num FROM alembic_version")).scalar() or "")
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
        name = getattr(error.orig, "sqlite_errorname", "") or getattr(
            getattr(error.orig, "__cause__", None), "sqlite_errorname", ""
        )
        state = getattr(error.orig, "sqlstate", "")
        if name == "SQLITE_FULL" or state == "53100":
            return Problem(507, "The disk of the database is full; nothing was changed.")
    busy = isinstance(error, PoolTimeoutError)
    detail = "The database is busy." if busy else "The database cannot be reached."
    return Problem(503, detail, headers={"Retry-After": "1"})
