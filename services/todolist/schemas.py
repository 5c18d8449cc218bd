"""What is on the wire of the gateway alone; what it passes on is documented by the service that answers."""

from typing import Literal

from pydantic import BaseModel


class LoggedIn(BaseModel):
    """The answer to a successful login or registration; the token is in the cookie."""

    status: Literal["ok"] = "ok"
    type: str = ""
    currentAuthority: Literal["admin", "user"]
