"""The gateway: the only public service. It owns the session, serves the UI and passes calls on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
from fastapi import APIRouter, FastAPI, Request, Response
from pydantic import ValidationError

from services.chassis.application import create_app as create_chassis_app
from services.chassis.caller import GUEST, Caller
from services.chassis.problems import documented
from services.chassis.routing import DirectRoute
from services.todolist import openapi, session, upstream
from services.todolist.schemas import LoggedIn, Session
from services.todolist.session import Sessions
from services.todolist.settings import Settings
from services.todolist.ui import CONTENT_SECURITY_POLICY, Ui
from services.todolist.upstream import Upstream

# What the gateway itself may answer on a call that it passes on.
READ_ERRORS = documented(502, 503, 504)
WRITE_ERRORS = documented(403, 413, 415, 502, 503, 504)
PROFILE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Profile"}}}}
}

router = APIRouter(route_class=DirectRoute, tags=["todolist"])


@router.get("/api/currentUser", responses={**READ_ERRORS, **PROFILE})
async def current_user(request: Request) -> Response:
    """Return the profile of the logged-in user, or of the guest."""
    user, caller = _user(request), await _caller(request)
    answer = await user.call(request, "GET", f"/user/{caller.id}", caller)
    if answer.status == 404:  # noqa: PLR2004
        # The token outlived its account.
        answer = await user.call(request, "GET", f"/user/{GUEST}")
    return answer.response()


@router.post("/api/login/account", response_model=LoggedIn, responses=WRITE_ERRORS)
async def log_in(request: Request) -> Response:
    """Log in: the session is a cookie."""
    return await _start_session(request, "/api/login/account")


@router.post("/user/register", status_code=201, response_model=LoggedIn, responses=WRITE_ERRORS)
async def register(request: Request) -> Response:
    """Create an account and log in."""
    return await _start_session(request, "/user/register")


@router.post("/api/login/outLogin", status_code=204, response_class=Response, responses=documented(403, 413, 415))
async def log_out(request: Request) -> Response:
    """Log out."""
    response = Response(status_code=204)
    session.end(request, response)
    return response


@router.get("/api/users", responses=READ_ERRORS)
async def list_accounts(request: Request) -> Response:
    """Return the accounts, to an administrator."""
    return (await _user(request).call(request, "GET", "/api/users", await _caller(request))).response()


@router.get("/api/rule", responses=READ_ERRORS)
async def list_items(request: Request) -> Response:
    """Return a page of the caller's list."""
    query = request.scope["query_string"].decode("latin-1")
    target = f"/api/rule?{query}" if query else "/api/rule"
    return (await _rule(request).call(request, "GET", target, await _caller(request))).response()


@router.post("/api/rule", status_code=201, responses=WRITE_ERRORS)
async def create_item(request: Request) -> Response:
    """Add an item to the caller's list."""
    return await _write_to_rule(request)


@router.put("/api/rule", responses=WRITE_ERRORS)
async def update_item(request: Request) -> Response:
    """Change one of the caller's items."""
    return await _write_to_rule(request)


@router.delete("/api/rule", responses=WRITE_ERRORS)
async def delete_items(request: Request) -> Response:
    """Delete some of the caller's items."""
    return await _write_to_rule(request)


@router.get("/openapi.json", include_in_schema=False)
async def document(request: Request) -> Response:
    """Return one document for the whole system: the gateway's own, completed by those of its upstreams."""
    answers = await asyncio.gather(
        *(service.call(request, "GET", "/openapi.json") for service in (_user(request), _rule(request)))
    )
    complete = request.app.openapi()
    for answer in answers:
        if answer.status >= 400:  # noqa: PLR2004
            return answer.response()
        try:
            complete = openapi.completed(complete, answer.json())
        except (AttributeError, KeyError, TypeError):
            raise answer.senseless() from None
    return Response(orjson.dumps(complete), media_type="application/json")


def create_app(settings: Settings) -> FastAPI:
    """Return the application."""
    ui = Ui(Path(__file__).parent / "static")

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with upstream.client() as client:
            timeout, concurrency = settings.upstream_timeout, settings.upstream_concurrency
            for name, url in (("user", settings.user_url), ("rule", settings.rule_url)):
                service = Upstream(name, str(url), client, timeout=timeout, concurrency=concurrency)
                setattr(app.state, name, service)
            app.state.sessions = Sessions(settings, app.state.user)
            yield

    app = create_chassis_app(
        service="todolist",
        description="The gateway and the user interface.",
        routes=router.routes,
        settings=settings,
        lifespan=lifespan,
        layers=(ui.before,),
        content_security_policy=CONTENT_SECURITY_POLICY,
        # The gateway's document is completed by its upstreams.
        openapi_url=None,
    )
    app.router.default = ui.fallback
    return app


def _user(request: Request) -> Upstream:
    user: Upstream = request.app.state.user
    return user


def _rule(request: Request) -> Upstream:
    rule: Upstream = request.app.state.rule
    return rule


async def _caller(request: Request) -> Caller:
    sessions: Sessions = request.app.state.sessions
    return await sessions.caller(request)


async def _write_to_rule(request: Request) -> Response:
    """Pass a change on as it is: rule validates it."""
    body, caller = await request.body(), await _caller(request)
    return (await _rule(request).call(request, request.method, "/api/rule", caller, body)).response()


async def _start_session(request: Request, target: str) -> Response:
    """Let user check a name and password; on success move the token from the body into the cookie."""
    answer = await _user(request).call(
        request, "POST", target, body=await request.body(), device=session.known_device(request)
    )
    if answer.status >= 400:  # noqa: PLR2004
        return answer.response()
    try:
        begun = Session.model_validate(answer.json())
    except ValidationError:
        raise answer.senseless() from None
    response = answer.response(orjson.dumps(begun.model_extra))
    session.start(request, response, begun.token, begun.expiresIn)
    if begun.device:
        session.remember_device(request, response, begun.device)
    return response
