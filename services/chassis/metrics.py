"""The Prometheus metrics of a service, beside those of the process; every label has a bounded set of values."""

import asyncio
from http import HTTPMethod

from prometheus_client import Counter, Gauge, Histogram

# Seconds.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

_requests = Counter("http_requests", "Requests answered.", ("method", "route", "status"))
_seconds = Histogram("http_request_duration_seconds", "Time to answer.", ("method", "route"), buckets=BUCKETS)
_tasks = Gauge("asyncio_tasks", "Tasks of the event loop that have not ended.")
_tasks.set_function(lambda: len(asyncio.all_tasks()))


def observe(method: str, route: str, status: int, seconds: float) -> None:
    """Count one answer."""
    method = method if method in HTTPMethod.__members__ else "other"
    _requests.labels(method, route, str(status)).inc()
    _seconds.labels(method, route).observe(seconds)
