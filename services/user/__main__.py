"""Run the service: `python -m services.user`."""

from services.chassis.start import run

run("user")
