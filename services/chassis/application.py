"""The application factory: what every service has around its own routes."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel
from starlette.types import ASGIApp

from services.chassis import problems
from services.chassis.metrics import Metrics
from services.chassis.middleware import AddHeaders, Observe
from services.chassis.settings import Settings

API_CONTENT_SECURITY_POLICY = "default-src 'none'; frame-ancestors 'none'"


class Health(BaseModel):
    """The answer of a healthy service."""

    status: Literal["ok"] = "ok"


def create_app(
    *,
    service: str,
    description: str,
    router: APIRouter,
    settings: Settings,
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]],
    check: Callable[[], Awaitable[Any]] | None = None,
    layers: Sequence[Callable[[ASGIApp], ASGIApp]] = (),
    content_security_policy: str = API_CONTENT_SECURITY_POLICY,
    **options: Any,
) -> FastAPI:
    """Return an application with these routes, and with health, metrics, problem answers and headers.

    check: raises a Problem when the service cannot serve now; layers: plain ASGI middleware, the innermost first;
    options: FastAPI's own. The server sets `app.state.stopping` when it is told to stop.
    """
    app = FastAPI(
        title=service,
        description=description,
        version=settings.version,
        lifespan=lifespan,
        responses=problems.PROBLEMS,
        # Swagger UI and ReDoc load scripts of third parties; the document itself is enough.
        docs_url=None,
        redoc_url=None,
        # The redirect would go wherever the Host header says.
        redirect_slashes=False,
        # Traces are the work of the proxies; the services pass their headers on.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        **options,
    )
    app.state.stopping = False
    metrics = Metrics()
    headers = {
        "x-served-by": f"{service}/{settings.version}@{settings.instance_name}",
        "content-security-policy": content_security_policy,
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
    }
    # The last one added is the first to see a request.
    for layer in layers:
        app.add_middleware(layer)
    app.add_middleware(AddHeaders, headers=headers)
    app.add_middleware(Observe, metrics=metrics)
    problems.add_handlers(app)
    # Not included as a router: that would match each request twice.
    app.router.routes.extend(router.routes)

    @app.get("/healthz", tags=["health"])
    async def healthz() -> Health:
        """The process lives."""
        return Health()

    @app.get("/readyz", tags=["health"])
    async def readyz() -> Health:
        """The service can take requests: its database answers and it is not shutting down."""
        if app.state.stopping:
            raise problems.Problem(503, "The service is shutting down.")
        if check:
            await check()
        return Health()

    @app.get("/metrics", tags=["health"], response_class=PlainTextResponse)
    async def read_metrics() -> Response:
        """Metrics in the Prometheus text format."""
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return app


def from_state(name: str) -> Callable[[Request], Awaitable[Any]]:
    """Return a dependency: what `create_app` of the service put into `app.state` by this name."""

    async def read(request: Request) -> Any:
        return getattr(request.app.state, name)

    return read
