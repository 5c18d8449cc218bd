"""The trace id of a request, for log lines and errors."""

from collections.abc import Iterable
from contextvars import ContextVar

# The headers of the current request. The id is parsed only when a log line or an error needs it.
request_headers: ContextVar[Iterable[tuple[bytes, bytes]]] = ContextVar("request_headers", default=())


def trace_id() -> str | None:
    """Return the trace id (W3C Trace Context, Zipkin B3; 32 or 16 hex digits) of the request, else its request id."""
    headers = dict(request_headers.get())
    for name, part in ((b"traceparent", 1), (b"x-b3-traceid", 0), (b"b3", 0)):
        parts = headers.get(name, b"").split(b"-")
        if len(parts) > part and len(parts[part]) in (16, 32) and parts[part].isalnum():
            return parts[part].decode()
    return headers.get(b"x-request-id", b"")[:64].decode("ascii", "replace") or None
