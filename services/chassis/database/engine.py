"""The SQLAlchemy engines, and the settings of their connections."""

import os
import socket
import sqlite3
from contextlib import suppress
from math import ceil
from pathlib import Path
from traceback import clear_frames
from typing import Annotated, Any

import sqlalchemy
from pydantic import AfterValidator, Field
from sqlalchemy import URL, Engine, event, exc, make_url

from services.chassis.settings import Seconds, Settings

DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}
# SQLite's primary result codes that no retry resolves (https://www.sqlite.org/rescode.html).
UNUSABLE = {
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}


def _driver_url(address: str) -> URL:
    """Return the address with its driver. Raises ValueError for an unsupported address."""
    scheme, _, rest = address.partition("://")
    # In memory, each thread would have a database of its own.
    if scheme not in DRIVERS or not rest or make_url(address).database in (None, "", ":memory:"):
        raise ValueError("is neither sqlite:///file nor postgresql://user:password@host/database")
    return make_url(address).set(drivername=DRIVERS[scheme])


DatabaseUrl = Annotated[str, AfterValidator(lambda address: _driver_url(address) and address)]


class DatabaseSettings(Settings):
    """Settings of a service with a database."""

    database_url: DatabaseUrl
    database_timeout: Annotated[Seconds, Field(le=86_400)] = 5


def create_engines(settings: DatabaseSettings) -> tuple[Engine, Engine]:
    """Return two engines: one in autocommit mode, for reads, and one with transactions, for writes.

    Raises ValueError if SQLite's file can never be used.
    """
    url, timeout = _driver_url(settings.database_url), settings.database_timeout
    is_sqlite = url.get_backend_name() == "sqlite"
    server_settings = {
        "timezone": "UTC",
        # The server cancels statements that take too long, and those whose client has disconnected.
        "statement_timeout": f"{ceil(timeout)}s",
        "client_connection_check_interval": "500ms",
        # A search uses one processor, not all of them.
        "max_parallel_workers_per_gather": 0,
    }
    postgresql = {
        # Whole seconds, at least 2, for each address.
        "connect_timeout": ceil(timeout),
        # A lost machine is detected after 25 s.
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        # UTF-8 even if the encoding of the database is SQL_ASCII.
        "client_encoding": "utf8",
        "options": " ".join(f"-c{name}={value}" for name, value in server_settings.items()),
    }
    # Values may be private, so they are not logged.
    options: dict[str, Any] = {
        "hide_parameters": True,
        "connect_args": {"timeout": timeout} if is_sqlite else postgresql,
    }
    # Reads leave nothing to roll back when their connection returns to the pool.
    reads = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT", skip_autocommit_rollback=True, **options)
    writes = sqlalchemy.create_engine(url, **options)
    for engine in (reads, writes):
        if is_sqlite:
            event.listen(engine, "connect", _configure_sqlite)
        else:
            event.listen(engine, "do_connect", _connect)
            event.listen(engine, "handle_error", _replace_outdated)
    if is_sqlite:
        event.listen(writes, "begin", _begin_immediate)
        _open_file(Path(str(url.database)), writes)
    return reads, writes


def _configure_sqlite(connection: sqlite3.Connection, _: Any) -> None:
    # Transactions are begun by _begin_immediate, not by the driver.
    connection.isolation_level = None
    # FULL: a commit is durable before it is acknowledged, in WAL mode too.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "cache_size=-32000"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_immediate(connection: sqlalchemy.Connection) -> None:
    # Acquires the write lock at once: a transaction that begins with a read cannot wait for the lock later.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _connect(dialect: Any, _: Any, arguments: list[Any], options: dict[str, Any]) -> Any:
    """Connect to PostgreSQL."""
    try:
        return dialect.connect(*arguments, **options)
    except dialect.loaded_dbapi.Error as error:
        # The traceback of a failed attempt keeps its socket open until garbage collection. A frozen server that
        # resumes would open a session for each of these sockets.
        clear_frames(error.__traceback__)
        raise


def is_outdated(error: BaseException | None) -> bool:
    """Return whether PostgreSQL rejected a prepared statement because a migration has changed the type of a column."""
    return getattr(error, "sqlstate", "") == "0A000"


def _replace_outdated(context: sqlalchemy.ExceptionContext) -> None:
    # The statement would be rejected for as long as the connection lasts; a new connection prepares it again.
    if is_outdated(context.original_exception):
        context.is_disconnect = True


def _open_file(path: Path, engine: Engine) -> None:
    """Open the SQLite file once, for writing. Raises ValueError if no retry can succeed."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with engine.begin():
            pass
    except OSError as error:
        raise ValueError(f"DATABASE_URL: cannot create the folder {path.parent}: {error.strerror}") from None
    except exc.DatabaseError as error:
        if isinstance(error.orig, sqlite3.Error) and error.orig.sqlite_errorcode & 0xFF in UNUSABLE:
            raise ValueError(f"DATABASE_URL: cannot use {path} as a database: {error.orig}") from None


def interrupt(connection: Any) -> None:
    """Interrupt the statement that runs on a driver connection. Called from another thread."""
    if isinstance(connection, sqlite3.Connection):
        connection.interrupt()
        return
    # Shuts the connection down, as a frozen server would not read a cancel request. A running one detects it within a
    # second (client_connection_check_interval). suppress: the connection may be closed already.
    with suppress(Exception), socket.socket(fileno=os.dup(connection.fileno())) as duplicate:
        duplicate.shutdown(socket.SHUT_RDWR)
