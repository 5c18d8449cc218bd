"""Logs on standard output: JSON lines for a collector, plain lines for a person at a terminal."""

import logging
import sys
from datetime import UTC, datetime

import orjson

from services.chassis.settings import Settings
from services.chassis.tracing import trace_id


class JsonFormatter(logging.Formatter):
    """One JSON object a line, with the trace id of the request in hand."""

    def __init__(self, service: str, version: str) -> None:
        super().__init__()
        self._labels = {"service": service, "version": version}

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname.lower(),
            **self._labels,
            "logger": record.name,
            "message": record.getMessage(),
            "traceId": trace_id(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, option=orjson.OPT_UTC_Z, default=str).decode()


def configure(settings: Settings, service: str) -> None:
    """Send all logs of the process to standard output in the format that the settings ask for."""
    handler = logging.StreamHandler(sys.stdout)
    plain = settings.log_format == "text" or (settings.log_format == "auto" and sys.stdout.isatty())
    handler.setFormatter(
        logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")
        if plain
        else JsonFormatter(service, settings.version)
    )
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    # These tell of every step of a start and a stop; only their warnings are news.
    for name in ("uvicorn.error", "alembic.runtime.plugins"):
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))
