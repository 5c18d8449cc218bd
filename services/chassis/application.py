"""The application factory: what every service has around its own routes."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.middleware import Middleware
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from services.chassis import problems
from services.chassis.middleware import Edge
from services.chassis.settings import Settings


def served_by(service: str, settings: Settings) -> dict[str, str]:
    """Return the header of every answer that says which process gave it."""
    return {"x-served-by": f"{service}/{settings.version}@{settings.instance_name}"}


def create_app(
    *,
    service: str,
    router: APIRouter,
    settings: Settings,
    edge: Mapping[str, str] | None = None,
    check: Callable[[], Awaitable[Any]] | None = None,
    **options: Any,
) -> FastAPI:
    """Return an application with these routes, and with health, metrics and problems as its errors.

    edge: the headers of every answer, or None for one that is mounted behind another's Edge;
    check: raises a Problem when the service cannot serve now; options: FastAPI's own.
    """
    app = FastAPI(
        title=service,
        version=settings.version,
        middleware=[] if edge is None else [Middleware(Edge, headers=edge)],
        responses=problems.PROBLEMS,
        exception_handlers=problems.HANDLERS,
        # Swagger UI and ReDoc load scripts of third parties; the document itself is enough.
        docs_url=None,
        redoc_url=None,
        # The redirect would go wherever the Host header says.
        redirect_slashes=False,
        # Traces are the work of the proxies; the services pass their headers on.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        **options,
    )
    app.state.settings = settings
    # Not included as a router: that would match each request twice.
    app.router.routes.extend(router.routes)

    @app.get("/healthz", tags=["health"])
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", tags=["health"])
    async def readyz() -> dict[str, str]:
        """The service can take requests: its database answers, if it has one."""
        if check:
            await check()
        return {"status": "ok"}

    @app.get("/metrics", tags=["health"], response_class=PlainTextResponse)
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return app


def from_state(name: str) -> Any:
    """Return a dependency on what stands in `app.state` by this name."""

    # async, although it waits for nothing: FastAPI would run a plain function in a thread.
    async def read(request: Request) -> Any:
        return getattr(request.app.state, name)

    return Depends(read)
