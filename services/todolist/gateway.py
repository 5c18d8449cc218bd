"""The table of the gateway: which call goes to which service."""

from fastapi import Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from services.chassis.caller import GUEST
from services.chassis.disconnect import cancelled_on_disconnect
from services.todolist.session import Sessions
from services.todolist.upstream import Upstream


class PassOn:
    """An endpoint that passes a request on to a service, whatever its method, and tells the service who calls."""

    def __init__(self, service: str) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        sessions: Sessions = request.state.sessions
        upstream: Upstream = getattr(request.state, self._service)
        caller = await sessions.caller(request)
        query = scope["query_string"].decode("latin-1")
        target = f"{scope['path']}?{query}" if query else scope["path"]
        if request.method == "GET":
            with cancelled_on_disconnect(request):
                answer = await upstream.call(request, "GET", target, caller)
        else:
            answer = await upstream.call(request, request.method, target, caller, await request.body())
        await answer.response()(scope, receive, send)


class Profile:
    """The endpoint for the profile of the logged-in user, or of the guest."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        sessions: Sessions = request.state.sessions
        user: Upstream = request.state.user
        caller = await sessions.caller(request)
        answer = await user.call(request, request.method, f"/user/{caller.id}", caller)
        if answer.status == 404:
            # The token outlived its account.
            answer = await user.call(request, request.method, f"/user/{GUEST}")
        await answer.response()(scope, receive, send)


# Without `methods`: the service answers 405 where it does not know one.
TABLE = [
    Route("/api/currentUser", Profile()),
    Route("/api/users", PassOn("user")),
    Route("/api/rule", PassOn("rule")),
]
