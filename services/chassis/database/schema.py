"""The schema of a database: brought up to date when the service starts, by one replica at a time."""

from pathlib import Path
from typing import Any

from sqlalchemy import Engine, inspect, text

from services.chassis.database.statements import transaction

# Any number, the same for all replicas: the key of PostgreSQL's advisory lock around a migration.
MIGRATION_LOCK = 7_305_801


def migrate(engine: Engine, migrations: Path) -> None:
    """Bring the schema to the newest revision in the migrations folder."""
    newest = max(path.name.split("_")[0] for path in (migrations / "versions").glob("[0-9]*.py"))
    with engine.connect() as connection:
        has_schema = inspect(connection).has_table("alembic_version")
        if has_schema and connection.scalar(text("SELECT version_num FROM alembic_version")) == newest:
            return
        # Imported here: a service whose schema is up to date starts without Alembic.
        from alembic import command
        from alembic.config import Config

        with transaction(connection):
            if connection.dialect.name == "postgresql":
                # A migration may take longer than a request may.
                driver: Any = connection.connection.driver_connection
                driver.deadline = None
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
            location = {"script_location": str(migrations)}
            command.upgrade(Config(config_args=location, attributes={"connection": connection}), "head")
        # Not back into the pool: this connection has no deadline.
        connection.invalidate()
