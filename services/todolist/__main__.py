"""Run the service: `python -m services.todolist`."""

from services.chassis.server import run

run("todolist")
