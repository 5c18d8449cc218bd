"""Run the service: `python -m services.rule`."""

from services.chassis.server import run

run("rule")
