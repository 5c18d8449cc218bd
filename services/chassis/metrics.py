"""The Prometheus metrics of a service, beside those of the process; every label has a bounded set of values."""

import asyncio
from http import HTTPMethod

from prometheus_client import Counter, Gauge, Histogram

_requests = Counter("http_requests", "Requests answered.", ("method", "route", "status"))
_seconds = Histogram("http_request_duration_seconds", "Time to answer.", ("method", "route"))
_tasks = Gauge("asyncio_tasks", "Tasks of the event loop that have not ended.")
_tasks.set_function(lambda: len(asyncio.all_tasks()))


def observe(method: str, route: str, status: int, seconds: float) -> None:
    """Count one answer."""
    method = method if method in HTTPMethod.__members__ else "other"
    _requests.labels(method, route, str(status)).inc()
    _seconds.labels(method, route).observe(seconds)
