"""What is on the wire of the user service."""

import unicodedata
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints
from pydantic.config import JsonDict

from services.chassis.wire import Wire
from services.user.names import allowed

Authority = Literal["admin", "user"]
EXAMPLE: JsonDict = {"userName": "alice", "password": "correct horse battery"}


def _printable(value: str) -> str:
    """Return the name in its one canonical spelling (Unicode NFC), or raise ValueError if parts cannot be seen."""
    value = unicodedata.normalize("NFC", value)
    if not value.isprintable():
        raise ValueError("must not contain characters that cannot be seen")
    return value


UserName = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=2, max_length=50), AfterValidator(_printable)
]


class AccountLogin(Wire, strict=True):
    """A name and a password that an account may have; names had fewer rules before."""

    user_name: UserName
    password: Annotated[str, Field(min_length=8, max_length=128)]


class Registration(AccountLogin, json_schema_extra={"examples": [EXAMPLE]}):
    """The name and the password of a new account."""

    user_name: Annotated[UserName, AfterValidator(allowed)]


class Credentials(Wire, strict=True, json_schema_extra={"examples": [EXAMPLE]}):
    """A name and a password that may be right."""

    user_name: Annotated[str, Field(max_length=200)]
    password: Annotated[str, Field(max_length=200)]
    type: Annotated[str, Field(max_length=20)] = ""


class LoggedIn(Wire):
    """The answer to a successful login or registration."""

    status: Literal["ok"] = "ok"
    type: str = ""
    current_authority: Authority
    token: str = Field(description="A JWT; the gateway keeps it in a cookie")
    expires_in: int = Field(description="Seconds the token is valid for")
    device: str = Field(description="A JWT, for the header x-known-device; the gateway keeps it in a cookie")


class LoginRefused(Wire):
    """The answer to a wrong name or password.

    The first front end, in React, reads `status` and `type`: here they are words of its own, not those of RFC 9457.
    """

    status: Literal["error"] = "error"
    type: str = Field("", description="The type of the login as it was sent")
    current_authority: Literal["guest"] = "guest"
    title: str
    detail: str
    trace_id: str | None = None


class Label(Wire):
    """A text with its key."""

    key: str
    label: str


class Geographic(Wire):
    """Where somebody is."""

    province: Label
    city: Label


class Profile(Wire):
    """What is shown of a person."""

    userid: str
    name: str
    avatar: str
    email: str = ""
    signature: str
    title: str
    group: str = "todolist"
    tags: list[Label]
    notify_count: int = 0
    unread_count: int = 0
    country: str = "China"
    geographic: Geographic
    address: str = ""
    phone: str = ""
    access: Literal["guest", "user", "admin"]
    version: Literal["v1", "v2"] = Field(description="The variant that answered")


class Account(Wire):
    """An account as an administrator sees it."""

    key: str = Field(validation_alias="id")
    name: str
    authority: Authority
