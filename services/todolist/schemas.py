"""What is on the wire of the gateway alone; what it passes on is documented by the service that answers."""

from typing import Literal

from services.chassis.wire import Wire


class LoggedIn(Wire):
    """The answer to a successful login or registration; the token is in the cookie."""

    status: Literal["ok"] = "ok"
    type: str = ""
    current_authority: Literal["admin", "user"]


class NewSession(LoggedIn, strict=True):
    """What the user service answers: the same, and what only the gateway sees."""

    token: str
    expires_in: int
    device: str
