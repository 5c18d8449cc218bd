"""Run the service: `python -m services.user`."""

from services.chassis.server import run

run("user")
