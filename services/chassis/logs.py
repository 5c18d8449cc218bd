"""Logs on standard output: JSON lines for a log collector, plain text for a terminal."""

import logging
import sys
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from services.chassis.settings import Settings
from services.chassis.tracing import trace_id


class TracedJsonFormatter(JsonFormatter):
    """One JSON object a line, with the trace id of the current request."""

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        return {**log_data, "level": log_data["level"].lower(), "traceId": trace_id()}


def configure(settings: Settings, service: str) -> None:
    """Send all logs of the process to standard output, in the configured format."""
    formatter: logging.Formatter = TracedJsonFormatter(
        ["levelname", "name", "message"],
        rename_fields={"levelname": "level", "name": "logger", "exc_info": "exception"},
        static_fields={"service": service, "version": settings.version},
        timestamp="time",
    )
    if settings.log_format == "text" or (settings.log_format == "auto" and sys.stdout.isatty()):
        formatter = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    # These log every step of a start and a stop, and every request: only their warnings are kept.
    for name in ("uvicorn.error", "alembic.runtime.plugins", "httpx"):
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))
