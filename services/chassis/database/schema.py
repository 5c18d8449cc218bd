"""Schema migrations: applied when the service starts, by one replica at a time."""

import logging
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

# The key of PostgreSQL's advisory lock around a migration: any number, the same for all replicas.
MIGRATION_LOCK = 7_305_801

log = logging.getLogger("database")


def migrate(reads: Engine, writes: Engine, migrations: Path) -> None:
    """Upgrade the schema to the newest revision in the migrations folder.

    A newer schema is not downgraded: migrations are backward compatible (expand and contract).
    """
    known = sorted(path.name.split("_")[0] for path in (migrations / "versions").glob("[0-9]*.py"))
    with reads.connect() as connection:
        current = _revision(connection)
    if current not in {None, *known}:
        log.warning("The schema of the database has revision %s; the newest of this version is %s", current, known[-1])
    if current not in {None, *known[:-1]}:
        return
    # Imported here: Alembic would delay the start of a service whose schema is up to date.
    from alembic import command
    from alembic.config import Config

    with writes.begin() as connection:
        if connection.dialect.name == "postgresql":
            # A migration may take longer than a request may.
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
        # Another replica may have migrated while this one waited for the lock.
        if _revision(connection) == current:
            location = {"script_location": str(migrations)}
            command.upgrade(Config(config_args=location, attributes={"connection": connection}), "head")


def _revision(connection: Connection) -> str | None:
    """Return the revision of the schema, or None if there is no schema yet."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision
