"""Whose call it is: a page says for whom it calls, and each answer says for whom it was made.

A page shows the list of one account while the cookie may say something else by now: the session has ended, or another
tab has logged in. Without this, an item for a private list would go to the list that all guests share.
"""

from collections.abc import Awaitable, Callable

from fastapi import Request, Response
from starlette.exceptions import HTTPException

from services.chassis.caller import GUEST, Caller
from services.chassis.problems import Problem
from services.todolist.session import find_caller

# Of a request: the account's id, or "guest". A client that does not send it means whoever the session says.
EXPECTED_CALLER = "x-expected-caller"
# Of an answer, also of a refusal: the same of the caller that the session gave.
CALLER = "x-caller"


def for_caller(handler: Callable[[Request, Caller], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """Return a handler that finds the caller, refuses the call if another one is expected, and names the caller."""

    async def handle(request: Request) -> Response:
        caller = await find_caller(request)
        try:
            _check(request.headers.get(EXPECTED_CALLER), caller)
            response = await handler(request, caller)
        except HTTPException as error:
            error.headers = {**(error.headers or {}), CALLER: caller.id}
            raise
        # The handler may know better: the account may be gone.
        response.headers.setdefault(CALLER, caller.id)
        return response

    return handle


def _check(expected: str | None, caller: Caller) -> None:
    """Raise a Problem when the call is meant for another caller: nothing is passed on."""
    if expected is None or expected == caller.id:
        return
    if caller.id == GUEST:
        raise Problem(401, "The session has ended, and this is not meant for the guest.")
    raise Problem(409, "Another account is logged in than this is meant for.")
