"""Who calls: what the gateway says in headers to the services behind it."""

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import quote, unquote

from fastapi import Depends, Request

GUEST = "guest"
USER_ID, USER_NAME = "x-user-id", "x-user-name"


@dataclass(frozen=True, slots=True)
class Caller:
    """An account's id and name, or the guest."""

    id: str = GUEST
    name: str = GUEST

    def headers(self) -> dict[str, str]:
        """Return the headers that tell a service who calls; names are percent-encoded (RFC 3986) as UTF-8."""
        return {USER_ID: self.id, USER_NAME: quote(self.name)}


async def _caller(request: Request) -> Caller:
    id = request.headers.get(USER_ID)
    return Caller(id, unquote(request.headers.get(USER_NAME, id))) if id else Caller()


# What a route asks for to learn who calls.
CallerDep = Annotated[Caller, Depends(_caller)]
