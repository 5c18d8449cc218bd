"""Alembic's entry point."""

from services.chassis.database.alembic_env import run
from services.user.models import metadata

run(metadata)
