"""What the threads do with a group of statements: read, or write and commit."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from services.chassis.database.groups import Rows, Statement


def read(engine: Engine, group: Sequence[Statement], *, is_repeated: bool = False) -> Sequence[Rows | Exception]:
    """Run each statement by itself; all of them once more if the connection had died since it was last used."""
    results: list[Rows | Exception] = []
    try:
        with engine.connect() as connection:
            for statement in group:
                try:
                    results.append(_execute(connection, statement))
                except DBAPIError as error:
                    if error.connection_invalidated:
                        raise
                    results.append(error)
    except DBAPIError as error:
        # As all connections do when the database restarts: a new one may work.
        return [error] * len(group) if is_repeated else read(engine, group, is_repeated=True)
    return results


def commit(engine: Engine, group: Sequence[Statement]) -> Sequence[Rows | Exception]:
    """Run the statements in one transaction; if one is refused, each in its own, for the others' sake."""
    try:
        with engine.connect() as connection, transaction(connection):
            return [_execute(connection, statement) for statement in group]
    except (DataError, IntegrityError) as error:
        return [error] if len(group) == 1 else [result for each in group for result in commit(engine, [each])]
    except Exception as error:
        return [error] * len(group)


def _execute(connection: Connection, statement: Statement) -> Rows:
    result = connection.execute(statement.executable, statement.parameters)
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
