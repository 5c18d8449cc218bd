"""The Prometheus metrics of a service, beside those of the process. Every label has bounded cardinality."""

import asyncio
import time
from functools import lru_cache
from http import HTTPMethod

from prometheus_client import Gauge, Histogram

# Its `_count` is the number of requests. No library: the existing ones match each route a second time.
_seconds = Histogram("http_request_duration_seconds", "Time to answer.", ("method", "route", "status"))
Gauge("asyncio_tasks", "Tasks that have not ended.").set_function(lambda: len(asyncio.all_tasks()))
_reached = Gauge("start_reached_timestamp_seconds", "When the start reached this point, since 1970.", ("point",))


def reached(point: str, at: float | None = None) -> None:
    """Record when the start of this process reached a point (default: now): the phases of a cold start."""
    _reached.labels(point).set(at or time.time())


@lru_cache
def duration(method: str, route: str, status: int) -> Histogram:
    """Return the histogram of the response times, in seconds."""
    return _seconds.labels(method if method in HTTPMethod.__members__ else "other", route, str(status))
