"""Run the service: `python -m services.rule`."""

from services.chassis.start import run

run("rule")
