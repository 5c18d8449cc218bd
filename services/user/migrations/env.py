"""Alembic's entry point."""

from services.chassis.migrations import run
from services.user.models import metadata

run(metadata)
