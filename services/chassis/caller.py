"""Who calls: what the gateway says in headers to the services behind it."""

from dataclasses import dataclass
from urllib.parse import quote, unquote

from starlette.requests import Request

GUEST = "guest"
USER_ID, USER_NAME = "x-user-id", "x-user-name"
# The token of a device on which somebody logged in before.
KNOWN_DEVICE = "x-known-device"
# For the OpenAPI documents of the services behind the gateway.
PARAMETERS = [
    {"name": USER_ID, "in": "header", "schema": {"type": "string"}, "description": "Who calls; the guest if absent."},
    {"name": USER_NAME, "in": "header", "schema": {"type": "string"}, "description": "Their name, percent-encoded."},
]


@dataclass(frozen=True, slots=True)
class Caller:
    """An account's id and name, or the guest."""

    id: str = GUEST
    name: str = GUEST

    @classmethod
    def of(cls, request: Request) -> "Caller":
        """Return who the gateway says is calling."""
        user_id = request.headers.get(USER_ID)
        return cls(user_id, unquote(request.headers.get(USER_NAME, user_id))) if user_id else cls()

    def headers(self) -> dict[str, str]:
        """Return the headers that tell a service who calls; names are percent-encoded (RFC 3986) as UTF-8."""
        return {USER_ID: self.id, USER_NAME: quote(self.name)}
