"""The table of the gateway: which call goes to which service."""

from collections.abc import Awaitable, Callable

from fastapi import Request, Response
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from services.chassis.caller import GUEST, Caller
from services.chassis.problems import problem_response
from services.todolist import session
from services.todolist.expected_caller import CALLER, for_caller
from services.todolist.upstream import Upstream

Handler = Callable[[Request], Awaitable[Response]]


@for_caller
async def read_profile(request: Request, caller: Caller) -> Response:
    """Return the profile of the logged-in user, or of the guest."""
    user: Upstream = request.app.state.user
    answer = await user.call(request, "GET", f"/user/{caller.id}", caller)
    if answer.status != 404:
        return answer.response()
    # The token outlived its account: the session ends, so that the list is the guest's as well.
    response = (await user.call(request, "GET", f"/user/{GUEST}")).response()
    session.end(request, response)
    response.headers[CALLER] = GUEST
    return response


def pass_on_to(service: str) -> Handler:
    """Return a handler that passes method, path, query and body on, and tells the service who calls."""

    @for_caller
    async def pass_on(request: Request, caller: Caller) -> Response:
        upstream: Upstream = getattr(request.app.state, service)
        body = None if request.method in ("GET", "HEAD") else await request.body()
        query = request.scope["query_string"].decode("latin-1")
        target = f"{request.scope['path']}?{query}" if query else request.scope["path"]
        return (await upstream.call(request, request.method, target, caller, body)).response()

    return pass_on


ROUTES = [
    Route("/api/currentUser", read_profile, methods=["GET"]),
    Route("/api/users", pass_on_to("user"), methods=["GET"]),
    Route("/api/rule", pass_on_to("rule"), methods=["GET", "POST", "PUT", "DELETE"]),
]


class FastPath:
    """Answers the routes above without running FastAPI's middleware, which would take a fifth of the time. Plain ASGI.

    FastAPI has these routes too, and answers requests with a wrong method.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._routes = {(method, route.path): route for route in ROUTES for method in route.methods or ()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._routes.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if route is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = route
        try:
            response = await route.endpoint(Request(scope, receive))
        except HTTPException as error:
            response = problem_response(error)
        await response(scope, receive, send)
