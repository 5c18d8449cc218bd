"""Alembic's entry point."""

from services.chassis.database.schema import run_migrations
from services.user.models import metadata

run_migrations(metadata)
