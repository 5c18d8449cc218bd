"""The gateway, behind the ingress: it forwards requests to its upstreams, owns the session and serves the UI."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.routing import Mount, Router
from starlette.types import ASGIApp

from services.chassis.application import create_app as create_chassis_app
from services.chassis.application import served_by
from services.chassis.middleware import Edge
from services.chassis.problems import PROBLEMS, Problem
from services.todolist import openapi, session, upstream
from services.todolist.gateway import TABLE
from services.todolist.guard import Guard
from services.todolist.schemas import LoggedIn, NewSession
from services.todolist.session import Sessions
from services.todolist.settings import Settings
from services.todolist.ui import BROWSER_HEADERS, Ui
from services.todolist.upstream import Upstream

LOGIN, REGISTRATION = "/api/login/account", "/user/register"

router = APIRouter(tags=["todolist"], responses=PROBLEMS)


@router.post(LOGIN, response_model=LoggedIn)
async def log_in(request: Request, response: Response) -> LoggedIn | Response:
    """Log in: the session is a cookie."""
    return await _start_session(request, response, LOGIN)


@router.post(REGISTRATION, status_code=201, response_model=LoggedIn)
async def register(request: Request, response: Response) -> LoggedIn | Response:
    """Create an account and log in."""
    return await _start_session(request, response, REGISTRATION)


@router.post("/api/login/outLogin", status_code=204)
async def log_out(request: Request, response: Response) -> None:
    """Log out."""
    session.end(request, response)


@router.get("/openapi.json", include_in_schema=False)
async def document(request: Request) -> Response:
    """Return one OpenAPI document for the whole system: the gateway's own, merged with those of its upstreams."""
    services: list[Upstream] = [request.state.user, request.state.rule]
    answers = await asyncio.gather(*(service.call(request, "GET", "/openapi.json") for service in services))
    for answer in answers:
        if answer.status >= 400:
            return answer.response()
    paths = [*(route.path for route in TABLE), LOGIN, REGISTRATION]
    try:
        completed = openapi.completed(request.app.openapi(), [answer.json() for answer in answers], paths)
    except (AttributeError, KeyError, TypeError):
        raise Problem(502, "The documents of the services do not fit together.") from None
    return JSONResponse(completed)


async def _start_session(request: Request, response: Response, path: str) -> LoggedIn | Response:
    """Send the credentials to the user service; on success move the token from the body into the cookie."""
    user: Upstream = request.state.user
    body, device = await request.body(), session.known_device(request)
    answer = await user.call(request, "POST", path, body=body, device=device)
    if answer.status >= 400:
        return answer.response()
    try:
        begun = NewSession.model_validate_json(answer.body)
    except ValidationError:
        raise answer.invalid() from None
    response.headers.update(answer.headers)
    session.start(request, response, begun)
    return LoggedIn(type=begun.type, current_authority=begun.current_authority)


def create_app(settings: Settings) -> ASGIApp:
    """Return the application: the route table, the files of the UI, then the routes above."""
    ui = Ui(Path(__file__).parent / "static")
    # No openapi_url: `document` serves the merged document.
    own = create_chassis_app(service="todolist", router=router, settings=settings, openapi_url=None)
    own.router.default = ui.fallback

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[dict[str, Any]]:
        async with upstream.client(settings.upstream_timeout) as client:
            user, rule = Upstream("user", settings.user_url, client), Upstream("rule", settings.rule_url, client)
            # Becomes `request.state`.
            yield {"user": user, "rule": rule, "sessions": Sessions(settings, user)}

    # The table comes before FastAPI, whose middleware would take longer than the gateway's own work for such a request.
    table = Router([*TABLE, *ui.routes, Mount("/", own)], lifespan=lifespan)
    return Edge(Guard(table, settings.trusted_origins), headers={**served_by("todolist", settings), **BROWSER_HEADERS})
