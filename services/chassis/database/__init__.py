"""The database of a service: reads and durable writes, in groups, and a schema that is brought up to date at start.

One way for SQLite and PostgreSQL. The drivers' calls block, so they run in threads: one for the reads, one for the
commits. Each read and each write is one statement.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from sqlalchemy import Executable, exc, text

from services.chassis.application import from_state
from services.chassis.database import statements
from services.chassis.database.engine import DatabaseSettings, create_engine
from services.chassis.database.groups import Groups, Rows
from services.chassis.database.schema import migrate
from services.chassis.problems import Problem

log = logging.getLogger("database")


class Database:
    """Reads and writes of one service.

    Both raise a Problem when the database cannot do it in time: 503, or 507 when its disk is full.
    """

    def __init__(self, settings: DatabaseSettings, migrations: Path) -> None:
        """migrations: the folder with Alembic's revisions."""
        self._engine = create_engine(settings)
        self.dialect = self._engine.dialect.name
        self._timeout, self._migrations = settings.database_timeout, migrations
        self._reads = Groups(partial(statements.read, self._engine))
        self._writes = Groups(partial(statements.commit, self._engine))
        self._is_prepared = False

    async def read(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> Rows:
        """Return the rows of one statement."""
        return await self._in_time(self._reads.add(statement, parameters))

    async def write(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> Rows:
        """Return the rows of one INSERT, UPDATE or DELETE … RETURNING, once its commit is durable."""
        return await self._in_time(self._writes.add(statement, parameters))

    async def check(self) -> None:
        """Raise a Problem when the database cannot be used now."""
        if not self._is_prepared:
            raise Problem(503, "The database is not prepared yet.")
        await self.read(text("SELECT 1"))

    @asynccontextmanager
    async def running(self, prepare: Callable[[], Awaitable[None]] | None = None) -> AsyncIterator[None]:
        """Bring the schema up to date, as soon as the database can be reached; in the end close all connections.

        prepare: run after that until it succeeds once; then the service is ready.
        """
        migration = asyncio.create_task(self._migrate(prepare))
        workers = [asyncio.create_task(groups.serve()) for groups in (self._reads, self._writes)]
        # The migration usually takes milliseconds. Without a database the service still starts, and is not ready.
        await asyncio.wait([migration], timeout=1)
        yield
        # The server has answered all requests, or given them up.
        for task in (migration, *workers):
            task.cancel()
        self._engine.dispose()

    async def _migrate(self, prepare: Callable[[], Awaitable[None]] | None) -> None:
        while not self._is_prepared:
            try:
                await asyncio.to_thread(migrate, self._engine, self._migrations)
                if prepare:
                    await prepare()
                self._is_prepared = True
            except Exception as error:
                log.warning("The database cannot be prepared yet: %r", getattr(error, "orig", error))
                await asyncio.sleep(1)

    async def _in_time(self, rows: Awaitable[Rows]) -> Rows:
        try:
            async with asyncio.timeout(self._timeout):
                return await rows
        except (TimeoutError, exc.SQLAlchemyError) as error:
            cause = getattr(error, "orig", error)  # The driver's exception, if it is one.
            log.error("The database failed: %r", cause)  # noqa: TRY400 - where in our code says nothing
            if getattr(cause, "sqlite_errorname", "") == "SQLITE_FULL" or getattr(cause, "sqlstate", "") == "53100":
                raise Problem(507, "The disk of the database is full; nothing was changed.") from error
            # A write that timed out may have been committed.
            reason = "did not answer in time" if isinstance(error, TimeoutError) else "cannot be used"
            raise Problem(503, f"The database {reason}.", headers={"Retry-After": "1"}) from error


# What a route asks for to use the database.
DatabaseDep = Annotated[Database, from_state("database")]
