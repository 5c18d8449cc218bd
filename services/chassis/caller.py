"""The caller of a request: the headers in which the gateway sends it to the services behind it."""

from typing import Annotated, NamedTuple
from urllib.parse import unquote

from fastapi import Depends, Request

GUEST = "guest"
# The name is percent-encoded (RFC 3986) as UTF-8.
USER_ID, USER_NAME = "x-user-id", "x-user-name"
# A response header of the gateway, also of errors once the caller is known: the id of the caller.
CALLER = "x-caller"


class Caller(NamedTuple):
    """An account's id and name, or the guest."""

    id: str = GUEST
    name: str = GUEST


async def _caller(request: Request) -> Caller:
    id = request.headers.get(USER_ID)
    return Caller(id, unquote(request.headers.get(USER_NAME, id))) if id else Caller()


# The dependency of a route on its caller.
CallerDep = Annotated[Caller, Depends(_caller)]
