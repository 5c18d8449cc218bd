"""Trace context: which headers go on from a request to the requests it causes, and the id that logs name."""

from collections.abc import Iterable
from contextvars import ContextVar

Headers = Iterable[tuple[bytes, bytes]]

# W3C Trace Context and Baggage, Zipkin B3, Envoy's request id, and the end user for routing.
PROPAGATED = frozenset(
    (
        b"traceparent",
        b"tracestate",
        b"baggage",
        b"x-request-id",
        b"b3",
        b"x-b3-traceid",
        b"x-b3-spanid",
        b"x-b3-parentspanid",
        b"x-b3-sampled",
        b"x-b3-flags",
        b"x-ot-span-context",
        b"end-user",
    )
)

# The headers of the request in hand: the id is worked out only when a log line or an error needs it.
request_headers: ContextVar[Headers] = ContextVar("request_headers", default=())


def trace_id() -> str | None:
    """Return the trace id of the request in hand (32 or 16 hex digits), else its request id, else None.

    Sources: W3C Trace Context (`traceparent`), Zipkin B3 (`x-b3-traceid`, `b3`).
    """
    headers = dict(request_headers.get())
    for name, part in ((b"traceparent", 1), (b"x-b3-traceid", 0), (b"b3", 0)):
        parts = headers.get(name, b"").split(b"-")
        if len(parts) > part and len(parts[part]) in (16, 32) and parts[part].isalnum():
            return parts[part].decode()
    request_id = headers.get(b"x-request-id", b"")[:64]
    return request_id.decode("ascii", "replace") if request_id else None
