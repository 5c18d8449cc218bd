"""Who calls: what the gateway says in headers to the services behind it."""

from typing import Annotated, NamedTuple
from urllib.parse import unquote

from fastapi import Depends, Request

GUEST = "guest"
# The name is percent-encoded (RFC 3986) as UTF-8.
USER_ID, USER_NAME = "x-user-id", "x-user-name"
# Of an answer of the gateway, also of a refusal: the id of the caller for whom it was made.
CALLER = "x-caller"


class Caller(NamedTuple):
    """An account's id and name, or the guest."""

    id: str = GUEST
    name: str = GUEST


async def _caller(request: Request) -> Caller:
    id = request.headers.get(USER_ID)
    return Caller(id, unquote(request.headers.get(USER_NAME, id))) if id else Caller()


# What a route asks for to learn who calls.
CallerDep = Annotated[Caller, Depends(_caller)]
