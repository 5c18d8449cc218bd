"""Response models of the gateway itself; requests that it forwards are documented by their service."""

from typing import Literal

from services.chassis.camel import CamelModel


class LoggedIn(CamelModel):
    """The answer to a successful login or registration; the token is in the cookie."""

    status: Literal["ok"] = "ok"
    type: str = ""
    current_authority: Literal["admin", "user"]


class NewSession(LoggedIn, strict=True):
    """The user service's response to a login, with the fields that stay in the gateway."""

    token: str
    expires_in: int
    device: str
