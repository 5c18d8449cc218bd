"""The engines: which database, and how its connections are made."""

import os
import socket
import sqlite3
from contextlib import suppress
from math import ceil
from pathlib import Path
from traceback import clear_frames
from typing import Annotated, Any

import sqlalchemy
from pydantic import AfterValidator
from sqlalchemy import URL, Engine, event, exc, make_url

from services.chassis.settings import Seconds, Settings

DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}
# SQLite's primary result codes for a file that waiting does not mend (https://www.sqlite.org/rescode.html).
UNUSABLE = {
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}


def _driver_url(address: str) -> URL:
    """Return the address with its driver. Raises ValueError for one that is not supported."""
    scheme, _, rest = address.partition("://")
    # In memory, each thread would have a database of its own.
    if scheme not in DRIVERS or not rest or make_url(address).database in (None, "", ":memory:"):
        raise ValueError("is neither sqlite:///file nor postgresql://user:password@host/database")
    return make_url(address).set(drivername=DRIVERS[scheme])


DatabaseUrl = Annotated[str, AfterValidator(lambda address: _driver_url(address) and address)]


class DatabaseSettings(Settings):
    """Adds the database of a service that keeps state."""

    database_url: DatabaseUrl
    database_timeout: Seconds = 5


def create_engines(settings: DatabaseSettings) -> tuple[Engine, Engine]:
    """Return two engines: one that commits each statement by itself, for reads, and one with transactions.

    Raises ValueError if SQLite's file can never be used.
    """
    url, timeout = _driver_url(settings.database_url), settings.database_timeout
    is_sqlite = url.get_backend_name() == "sqlite"
    server_settings = {
        "timezone": "UTC",
        # The server ends what takes too long, and what nobody waits for any more.
        "statement_timeout": f"{ceil(timeout)}s",
        "client_connection_check_interval": "500ms",
        # A search takes one processor, not all of them.
        "max_parallel_workers_per_gather": 0,
    }
    postgresql = {
        # Whole seconds, at least 2, for each address.
        "connect_timeout": ceil(timeout),
        # A server whose machine is gone is noticed after 25 s.
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        # Text is UTF-8 even in a database that was created without an encoding.
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
        event.listen(engine, *(("connect", _configure_sqlite) if is_sqlite else ("do_connect", _connect)))
    if is_sqlite:
        event.listen(writes, "begin", _begin_immediate)
        _open_file(Path(str(url.database)), writes)
    return reads, writes


def _configure_sqlite(connection: sqlite3.Connection, _: Any) -> None:
    # The driver begins no transaction: _begin_immediate does.
    connection.isolation_level = None
    # FULL makes a commit durable before it is acknowledged, also in WAL mode.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "cache_size=-32000"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_immediate(connection: sqlalchemy.Connection) -> None:
    # Takes the write lock at once: a transaction that begins with a read could not wait for it later.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _connect(dialect: Any, _: Any, arguments: list[Any], options: dict[str, Any]) -> Any:
    """Open a connection with PostgreSQL."""
    try:
        return dialect.connect(*arguments, **options)
    except dialect.loaded_dbapi.Error as error:
        # The frames of a failed attempt keep its socket open until the garbage is collected. A frozen server that
        # continues would open a session for each of these sockets.
        clear_frames(error.__traceback__)
        raise


def _open_file(path: Path, engine: Engine) -> None:
    """Open SQLite's file once, for writing. Raises ValueError if it can never be opened."""
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
    """End what a connection of the driver is doing, from another thread than the one that waits for it."""
    if isinstance(connection, sqlite3.Connection):
        connection.interrupt()
        return
    # Not by a cancel request: a frozen server would not read it. The server notices the closed connection within a
    # second (client_connection_check_interval), and the pool replaces it.
    # It may be closed already.
    with suppress(Exception), socket.socket(fileno=os.dup(connection.fileno())) as duplicate:
        duplicate.shutdown(socket.SHUT_RDWR)
