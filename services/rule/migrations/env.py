"""Alembic's entry point."""

from services.chassis.database.alembic_env import run
from services.rule.models import metadata

run(metadata)
