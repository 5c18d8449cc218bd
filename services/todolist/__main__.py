"""Run the service: `python -m services.todolist`."""

from services.chassis.start import run

run("todolist")
