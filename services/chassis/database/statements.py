"""What the threads do with a group of statements: read, or write and commit."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DataError, IntegrityError

from services.chassis.database.groups import Queued, Rows


def read(engine: Engine, group: Sequence[Queued], *, is_repeated: bool = False) -> Sequence[Rows | Exception]:
    """Run the statements; if the connection breaks, all once more on a new one. A DataError fails only its own."""
    try:
        with engine.connect() as connection:
            return [_execute(connection, queued) for queued in group]
    except DataError as error:
        return [error] if len(group) == 1 else [result for each in group for result in read(engine, [each])]
    except Exception as error:
        # After a restart of the database, all connections in the pool are broken.
        is_broken = getattr(error, "connection_invalidated", False)
        return read(engine, group, is_repeated=True) if is_broken and not is_repeated else [error] * len(group)


def commit(engine: Engine, group: Sequence[Queued]) -> Sequence[Rows | Exception]:
    """Run the statements in one transaction; if the database refuses one of them, each in a transaction of its own."""
    try:
        with engine.connect() as connection, transaction(connection):
            return [_execute(connection, queued) for queued in group]
    except (DataError, IntegrityError) as error:
        return [error] if len(group) == 1 else [result for each in group for result in commit(engine, [each])]
    except Exception as error:
        return [error] * len(group)


def _execute(connection: Connection, queued: Queued) -> Rows:
    result = connection.execute(queued.executable, queued.parameters)
    names = list(map(str, result.keys()))
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
