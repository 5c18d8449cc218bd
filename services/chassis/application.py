"""The application factory: what every service does around its own routes."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.chassis import problems
from services.chassis.problems import Problem
from services.chassis.settings import Settings
from services.chassis.tracing import Headers, request_headers

log = logging.getLogger("application")

MAX_BODY = 64 * 1024
HEALTH_PATHS = frozenset(("/healthz", "/readyz", "/metrics"))
# Seconds that a caller shall wait after a refusal.
RETRY_AFTER = 1
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
API_CONTENT_SECURITY_POLICY = "default-src 'none'; frame-ancestors 'none'"

# What a readiness check returns: why the service cannot serve now, or None.
Check = Callable[[], Awaitable[str | None]]
Layer = Callable[[ASGIApp], ASGIApp]
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


class Instruments:
    """The Prometheus metrics of a service; every label has a bounded set of values."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        labels = ("method", "route", "status")
        self._requests = Counter("http_requests", "Requests answered.", labels, registry=self.registry)
        self._seconds = Histogram(
            "http_request_duration_seconds",
            "Time to answer a request.",
            ("method", "route"),
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
            registry=self.registry,
        )
        self._tasks = Gauge("asyncio_tasks", "Tasks of the event loop that have not ended.", registry=self.registry)
        self._children: dict[tuple[str, str, int], tuple[Any, Any]] = {}

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answer."""
        key = (method if method in METHODS else "other", route, status)
        children = self._children.get(key)
        if children is None:
            children = self._requests.labels(*map(str, key)), self._seconds.labels(*key[:2])
            self._children[key] = children
        children[0].inc()
        children[1].observe(seconds)

    async def text(self) -> bytes:
        """Return all metrics in the Prometheus text format."""
        self._tasks.set(len(asyncio.all_tasks()))
        return await asyncio.to_thread(generate_latest, self.registry)


class Edge:
    """The outermost layer: checks, headers, metrics, and the last word about what nobody caught.

    Plain ASGI: it runs for every request.
    """

    def __init__(self, app: ASGIApp, *, headers: Headers, settings: Settings, instruments: Instruments) -> None:
        """headers: what every answer has."""
        self._app, self._headers = app, headers
        self._access_log = logging.getLogger("access") if settings.access_log else None
        self._instruments = instruments

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                # A copy: an answer may be kept and sent again.
                headers = message["headers"] = [*message["headers"], *self._headers]
                if all(name != b"cache-control" for name, _ in headers):
                    headers.append((b"cache-control", b"no-store"))
            await send(message)

        token = request_headers.set(scope["headers"])
        try:
            problem = _refusal(scope)
            if problem:
                await problem.response()(scope, receive, send_with_headers)
            else:
                await self._app(scope, receive, send_with_headers)
        except Exception:
            # The framework has answered, and raises what nobody caught so that it can be logged.
            log.exception("%s %s failed", scope["method"], scope["path"])
        finally:
            seconds = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", "other")
            self._instruments.observe(scope["method"], route, status, seconds)
            if self._access_log:
                self._access_log.info("%s %s %d %.1f ms", scope["method"], scope["path"], status, seconds * 1000)
            request_headers.reset(token)


def _refusal(scope: Scope) -> Problem | None:
    """Return the problem of a request that must not reach a route."""
    if scope["method"] in ("GET", "HEAD"):
        return None
    has_body, media_type, host, origin = False, b"", b"", None
    for name, value in scope["headers"]:
        if name == b"content-type":
            media_type = value.split(b";")[0].strip().lower()
        elif name == b"host":
            host = value
        elif name == b"origin":
            origin = value
        elif name == b"transfer-encoding" or (name == b"content-length" and value != b"0"):
            has_body = True
    if origin is not None and origin.partition(b"://")[2] != host:
        return Problem(403, "Another site may not change anything here.")
    if (has_body or media_type) and media_type != b"application/json":
        return Problem(415, "The body must be application/json.", headers={"Accept": "application/json"})
    return None


class Limit:
    """How many requests may be under way; the server asks before it begins one.

    Its refusal is ready to be sent: when ten times too many come, refusing must cost next to nothing.
    """

    def __init__(self, requests: int, headers: Headers, instruments: Instruments) -> None:
        """headers: what every answer has."""
        self._requests, self._instruments = requests, instruments
        answer = Problem(503, "Too many requests at once.", headers={"Retry-After": str(RETRY_AFTER)}).response()
        fields = (*answer.raw_headers, *headers, (b"cache-control", b"no-store"))
        self._head = b"\r\n".join((b"HTTP/1.1 503 Service Unavailable", *(b": ".join(field) for field in fields)))
        self._end = b"\r\n\r\n" + bytes(answer.body)

    def refusal(self, under_way: int, method: str, path: str, *, is_last: bool) -> bytes | None:
        """Return the answer to a request that is one too many, or None.

        is_last: the connection is closed after it, and the answer says so.
        """
        if under_way < self._requests or path in HEALTH_PATHS:
            return None
        self._instruments.observe(method, "other", 503, 0)
        return self._head + (b"\r\nconnection: close" if is_last else b"") + self._end


class Application(FastAPI):
    """A FastAPI application inside layers of our own."""

    def __init__(self, *, layers: Sequence[Layer], **options: Any) -> None:
        """layers: plain ASGI middleware around the whole application, the innermost first."""
        super().__init__(**options)
        self._layers = layers

    def build_middleware_stack(self) -> ASGIApp:
        """Put the layers outside of the framework's own, which then do not run for what a layer answers."""
        app = super().build_middleware_stack()
        for layer in self._layers:
            app = layer(app)
        return app


def create_app(
    *,
    service: str,
    description: str,
    routes: Sequence[BaseRoute],
    settings: Settings,
    lifespan: Lifespan,
    ready: Check | None = None,
    layers: Sequence[Layer] = (),
    content_security_policy: str = API_CONTENT_SECURITY_POLICY,
    **options: Any,
) -> FastAPI:
    """Return an application of these routes, with health, metrics, problem answers, limits and headers.

    ready: tells why the service cannot serve now, beside that it is stopping; layers: see Application.
    `app.state.stopping` is set by the server when it is told to stop; it asks `app.state.limit` before each request.
    """
    instruments = Instruments()
    headers = [
        (name, value.encode("latin-1"))
        for name, value in (
            (b"x-served-by", f"{service}/{settings.version}@{settings.instance_name}"),
            (b"content-security-policy", content_security_policy),
            (b"x-content-type-options", "nosniff"),
            (b"x-frame-options", "DENY"),
            (b"referrer-policy", "no-referrer"),
            (b"cross-origin-opener-policy", "same-origin"),
            (b"cross-origin-resource-policy", "same-origin"),
        )
    ]
    edge = partial(Edge, headers=headers, settings=settings, instruments=instruments)
    app = Application(
        layers=(*layers, edge),
        title=service,
        description=description,
        version=settings.version,
        # Given, and not included as a router: an included router adds a layer to the matching of every request.
        routes=list(routes),
        lifespan=lifespan,
        max_body_size=MAX_BODY,
        # Swagger UI and ReDoc load scripts of third parties; the document itself is enough.
        docs_url=None,
        redoc_url=None,
        # An address with a slash too many is none; the redirect would go wherever the Host header says.
        redirect_slashes=False,
        telemetry={
            "auto_configure": bool(settings.otel_exporter_otlp_endpoint),
            "tracing": bool(settings.otel_exporter_otlp_endpoint),
            "metrics": False,
            "logs": False,
            "operation_spans": False,
            "exclude": lambda scope: scope["path"] in HEALTH_PATHS,
        },
        **options,
    )
    app.state.stopping = False
    app.state.limit = Limit(settings.max_concurrency, headers, instruments)
    problems.add_handlers(app)
    health = {"application/json": {"example": {"status": "ok"}}}

    @app.get("/healthz", tags=["health"], responses={200: {"content": health}})
    async def healthz() -> dict[str, str]:
        """The process lives."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["health"], responses={200: {"content": health}, **problems.documented(503)})
    async def readyz(request: Request) -> dict[str, str]:
        """The service can take requests: its database answers and it is not stopping."""
        reason = "The service is stopping." if request.app.state.stopping else await ready() if ready else None
        if reason:
            raise Problem(503, reason)
        return {"status": "ok"}

    @app.get(
        "/metrics",
        tags=["health"],
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def metrics() -> Response:
        """Metrics in the Prometheus text format."""
        return Response(await instruments.text(), media_type=CONTENT_TYPE_LATEST)

    return app
