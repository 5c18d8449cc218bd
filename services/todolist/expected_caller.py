"""The expected caller: a request may name the account that it is intended for, and responses name the caller.

A page may show the list of one account while the cookie already belongs to another: the session has expired, or another
tab has logged in. Otherwise an item for a private list could go to the list that all guests share.
"""

from collections.abc import Awaitable, Callable

from fastapi import Request, Response
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from services.chassis.caller import CALLER, GUEST, Caller
from services.chassis.problems import Problem
from services.todolist.session import Sessions

# A request header: the account's id, or "guest". Without it any caller is accepted.
EXPECTED_CALLER = b"x-expected-caller"


class ForCaller:
    """An endpoint (ASGI) that determines the caller, and rejects the request if another one is expected."""

    def __init__(self, handler: Callable[[Request, Caller], Awaitable[Response]]) -> None:
        self._handler = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        sessions: Sessions = request.state.sessions
        caller = await sessions.caller(request)
        try:
            _check(dict(scope["headers"]).get(EXPECTED_CALLER), caller)
            response = await self._handler(request, caller)
        except HTTPException as error:
            error.headers = {**(error.headers or {}), CALLER: caller.id}
            raise
        await response(scope, receive, send)


def _check(expected: bytes | None, caller: Caller) -> None:
    """Raise a Problem when the request is meant for another caller: it is not forwarded."""
    if expected is None or expected == caller.id.encode():
        return
    if caller.id == GUEST:
        raise Problem(401, "The session has ended, and this is not meant for the guest.")
    raise Problem(409, "This is meant for another account than the one that is logged in.")
