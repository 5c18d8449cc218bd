"""The Prometheus metrics of a service, beside those of the process; every label has a bounded set of values."""

import asyncio
from http import HTTPMethod

from prometheus_client import Gauge, Histogram

METHODS = frozenset(HTTPMethod)

# Its `_count` is the number of requests.
_seconds = Histogram("http_request_duration_seconds", "Time to answer.", ("method", "route", "status"))
_tasks = Gauge("asyncio_tasks", "Tasks of the event loop that have not ended.")
_tasks.set_function(lambda: len(asyncio.all_tasks()))


def observe(method: str, route: str, status: int, seconds: float) -> None:
    """Count one answer, and how long it took."""
    method = method if method in METHODS else "other"
    _seconds.labels(method, route, str(status)).observe(seconds)
