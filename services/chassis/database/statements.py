"""What the threads do with a group of statements: read, or write and commit."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, CursorResult, Engine, Insert, exc

from services.chassis.database.groups import Queued, Rows


def read(engine: Engine, group: Sequence[Queued], *, is_repeated: bool = False) -> Sequence[Rows]:
    """Run the statements; if the connection breaks, once more on a new one."""
    try:
        with engine.connect() as connection:
            return _execute(connection, group)
    except exc.DBAPIError as error:
        # After a restart of the database, all connections in the pool are broken.
        if is_repeated or not error.connection_invalidated:
            raise
        return read(engine, group, is_repeated=True)


def commit(engine: Engine, group: Sequence[Queued]) -> Sequence[Rows]:
    """Run the statements in one transaction."""
    with engine.connect() as connection, transaction(connection):
        return _execute(connection, group)


def _execute(connection: Connection, group: Sequence[Queued]) -> Sequence[Rows]:
    """Run the statements in order; an INSERT that is there several times runs once for all rows, which is faster."""
    results: list[Rows] = []
    for statement, alike in groupby(group, lambda queued: queued.executable):
        parameters = [queued.parameters or {} for queued in alike]
        if isinstance(statement, Insert) and len(parameters) > 1:
            # A row for each set of parameters; they are in the same order only with sort_by_parameter_order.
            results += ([row] for row in _rows(connection.execute(statement, parameters)))
        else:
            results += (_rows(connection.execute(statement, each)) for each in parameters)
    return results


def _rows(result: CursorResult[Any]) -> Rows:
    names = tuple(result.keys())
    return [dict(zip(names, row, strict=True)) for row in result.all()]


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """Begin a transaction, and commit it at the end."""
    # SQLite takes its write lock at once: a transaction that begins with a read could not wait for it later.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.dialect.name == "sqlite" else "BEGIN")
    try:
        yield
        connection.exec_driver_sql("COMMIT")
    except BaseException:
        # Close the connection: its transaction may be in any state.
        connection.invalidate()
        raise
