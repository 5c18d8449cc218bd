"""What is on the wire of the gateway alone; what it passes on is documented by the service that answers."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class LoggedIn(BaseModel):
    """The answer to a successful login or registration; the token is in the cookie."""

    status: Literal["ok"] = "ok"
    type: str = ""
    currentAuthority: Literal["admin", "user"]


class Session(BaseModel):
    """What the gateway keeps of user's answer to a login or registration; the rest is for the browser."""

    model_config = ConfigDict(strict=True, extra="allow")

    token: str
    expiresIn: int
    device: str = ""
