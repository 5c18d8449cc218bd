"""The engine: which database, and how its connections are made."""

from math import ceil
from pathlib import Path
from typing import Annotated, Any

import sqlalchemy
from pydantic import AfterValidator
from sqlalchemy import URL, Engine, event, make_url

from services.chassis.settings import Seconds, Settings

DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}


def _driver_url(address: str) -> URL:
    """Return the address with its driver. Raises ValueError for one that is not supported."""
    scheme, _, rest = address.partition("://")
    if scheme not in DRIVERS or not rest or not make_url(address).database:
        raise ValueError("is neither sqlite:///file nor postgresql://user:password@host/database")
    return make_url(address).set(drivername=DRIVERS[scheme])


DatabaseUrl = Annotated[str, AfterValidator(lambda address: _driver_url(address) and address)]


class DatabaseSettings(Settings):
    """Adds the database of a service that keeps state."""

    database_url: DatabaseUrl
    database_timeout: Seconds = 5


def create_engine(settings: DatabaseSettings) -> Engine:
    """Return an engine for the database that the settings name."""
    url, timeout = _driver_url(settings.database_url), settings.database_timeout
    is_sqlite = url.get_backend_name() == "sqlite"
    # libpq takes whole seconds. Text is UTF-8 even in a database that was created without an encoding.
    postgresql = {"connect_timeout": ceil(timeout), "client_encoding": "utf8", "options": "-ctimezone=UTC"}
    engine = sqlalchemy.create_engine(
        url,
        # A read is one statement, and a write begins its transaction itself.
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
        # Values may be private, so they are not logged.
        hide_parameters=True,
        connect_args={"timeout": timeout} if is_sqlite else {**postgresql, "deadline": timeout},
    )
    if is_sqlite:
        Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
        event.listen(engine, "connect", _configure_sqlite)
    else:
        # Imported here: it takes a while, and SQLite does without.
        from services.chassis.database.postgresql import connect

        event.listen(engine, "do_connect", connect)
    return engine


def _configure_sqlite(connection: Any, _: Any) -> None:
    # FULL makes a commit durable before it is acknowledged, also in WAL mode.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "cache_size=-32000"):
        connection.execute(f"PRAGMA {pragma}")
