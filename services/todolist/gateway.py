"""The route table of the gateway: which path is forwarded to which service.

`ForCaller` (expected_caller.py) determines the caller from the cookie (session.py).
"""

from fastapi import Request, Response
from starlette.routing import Route

from services.chassis.caller import GUEST, Caller
from services.chassis.disconnect import until_disconnect
from services.todolist import session
from services.todolist.expected_caller import ForCaller
from services.todolist.upstream import Upstream


@ForCaller
async def read_profile(request: Request, caller: Caller) -> Response:
    """Return the profile of the logged-in user, or of the guest."""
    user: Upstream = request.state.user
    answer = await user.call(request, request.method, f"/user/{caller.id}", caller)
    if answer.status != 404:
        return answer.response(caller)
    # The account of this token no longer exists: end the session, so that the list is the guest's as well.
    response = (await user.call(request, request.method, f"/user/{GUEST}")).response(Caller())
    session.end(request, response)
    return response


def pass_on_to(service: str) -> ForCaller:
    """Return an endpoint that forwards requests of any method to a service, with the caller in headers."""

    @ForCaller
    async def pass_on(request: Request, caller: Caller) -> Response:
        upstream: Upstream = getattr(request.state, service)
        query = request.scope["query_string"].decode("latin-1")
        target = f"{request.scope['path']}?{query}" if query else request.scope["path"]
        # A body of a GET or OPTIONS is not read: it has no meaning, and the guard does not limit its size.
        if request.method in ("GET", "OPTIONS"):
            answer = await until_disconnect(request, upstream.call(request, request.method, target, caller))
        else:
            answer = await upstream.call(request, request.method, target, caller, await request.body())
        return answer.response(caller)

    return pass_on


# Without `methods`: the service itself answers 405 to those it does not support.
TABLE = [
    Route("/api/currentUser", read_profile),
    Route("/api/users", pass_on_to("user")),
    Route("/api/notices", pass_on_to("user")),
    Route("/api/rule", pass_on_to("rule")),
]
