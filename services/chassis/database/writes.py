"""Grouped writes: those that wait while a commit is under way share the next one.

A commit to a disk takes as long for fifty rows as for one.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, Executable
from sqlalchemy.exc import DataError, IntegrityError

# Each row by the names of its columns.
Rows = list[dict[str, Any]]


class Write(NamedTuple):
    """A statement that waits for its commit, and its rows to come."""

    statement: Executable
    parameters: Mapping[str, Any] | None
    rows: asyncio.Future[Rows]


class GroupedWrites:
    """Writes that wait, and the thread that commits them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._thread = ThreadPoolExecutor(1, "writer")
        self._waiting: asyncio.Queue[Write] = asyncio.Queue()

    def add(self, statement: Executable, parameters: Mapping[str, Any] | None) -> asyncio.Future[Rows]:
        """Return the statement's rows to come: they are there when its commit is durable."""
        rows: asyncio.Future[Rows] = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait(Write(statement, parameters, rows))
        return rows

    async def commit_for_ever(self) -> None:
        """Commit what waits, one group after the other."""
        loop = asyncio.get_running_loop()
        while True:
            group = [await self._waiting.get()]
            while not self._waiting.empty():
                group.append(self._waiting.get_nowait())
            # Without those whose callers have given up.
            group = [write for write in group if not write.rows.done()]
            results = await loop.run_in_executor(self._thread, _commit, self._engine, group)
            for write, result in zip(group, results, strict=True):
                if write.rows.done():
                    continue
                if isinstance(result, Exception):
                    write.rows.set_exception(result)
                else:
                    write.rows.set_result(result)


def _commit(engine: Engine, group: Sequence[Write]) -> Sequence[Rows | Exception]:
    """Run the writes in one transaction; if one is refused, each in its own, for the others' sake."""
    try:
        with engine.connect() as connection, transaction(connection):
            return [execute(connection, write.statement, write.parameters) for write in group]
    except (DataError, IntegrityError) as error:
        return [error] if len(group) == 1 else [result for write in group for result in _commit(engine, [write])]
    except Exception as error:
        return [error] * len(group)


def execute(connection: Connection, statement: Executable, parameters: Mapping[str, Any] | None) -> Rows:
    """Return the rows of a statement."""
    result = connection.execute(statement, parameters)
    names = list(map(str, result.keys()))
    return [dict(zip(names, row, strict=True)) for row in result]


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """Begin a transaction, and commit it at the end."""
    # SQLite takes its write lock at once: a reader that turns writer could not wait for it.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.dialect.name == "sqlite" else "BEGIN")
    try:
        yield
        connection.exec_driver_sql("COMMIT")
    except BaseException:
        # Whatever state the transaction is in ends with its connection.
        connection.invalidate()
        raise
