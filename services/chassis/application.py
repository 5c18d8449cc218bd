"""The application factory: health, metrics and error handling around the routes of each service."""

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
    """Return the response header that names the process that answered."""
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
    """Return an application with these routes, health checks, metrics, and problem details for errors.

    edge: the headers of every response, or None for an application that is mounted behind another Edge;
    check: raises a Problem while the service is not ready; options: passed to FastAPI.
    """
    app = FastAPI(
        title=service,
        version=settings.version,
        middleware=[] if edge is None else [Middleware(Edge, headers=edge)],
        responses=problems.PROBLEMS,
        exception_handlers=problems.HANDLERS,
        # Swagger UI and ReDoc load third-party scripts; the OpenAPI document itself is enough.
        docs_url=None,
        redoc_url=None,
        # The client controls the Host header, and so the target of the redirect.
        redirect_slashes=False,
        # The proxies report the traces; the services propagate the trace headers.
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
        """Readiness: the service accepts requests, and its database answers, if it has one."""
        if check:
            await check()
        return {"status": "ok"}

    @app.get("/metrics", tags=["health"], response_class=PlainTextResponse)
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return app


def from_state(name: str) -> Any:
    """Return a dependency that reads this attribute of `app.state`."""

    # async, although it waits for nothing: FastAPI would run a plain function in a thread.
    async def read(request: Request) -> Any:
        return getattr(request.app.state, name)

    return Depends(read)
