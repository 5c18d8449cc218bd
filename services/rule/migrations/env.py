"""Alembic's entry point."""

from services.chassis.migrations import run
from services.rule.models import metadata

run(metadata)
