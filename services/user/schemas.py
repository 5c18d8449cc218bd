"""Request and response models of the user service."""

import unicodedata
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, Field, StringConstraints
from pydantic.config import JsonDict

from services.chassis.camel import CamelModel
from services.user.names import allowed

Authority = Literal["admin", "user"]
# Notices are counted up to here.
MOST_COUNTED = 10_000
EventType = Literal["todolist.item.created", "todolist.item.done", "todolist.item.reopened", "todolist.item.deleted"]
EXAMPLE: JsonDict = {"userName": "alice", "password": "correct horse battery"}


def _printable(value: str) -> str:
    """Return the name normalized (Unicode NFC). Raises ValueError for characters that are not printable."""
    value = unicodedata.normalize("NFC", value)
    if not value.isprintable():
        raise ValueError("must not contain characters that cannot be seen")
    return value


def _plain_text(value: str) -> str:
    if "\0" in value:
        # PostgreSQL cannot store it.
        raise ValueError("must not contain the NUL character")
    return value


PlainText = AfterValidator(_plain_text)
UserName = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=2, max_length=50), AfterValidator(_printable)
]


class AccountLogin(CamelModel, strict=True):
    """A name and a password that an existing account may have: older names had fewer rules."""

    user_name: UserName
    password: Annotated[str, Field(min_length=8, max_length=128)]


class Registration(AccountLogin, json_schema_extra={"examples": [EXAMPLE]}):
    """The name and the password of a new account."""

    user_name: Annotated[UserName, AfterValidator(allowed)]


class Credentials(CamelModel, strict=True, json_schema_extra={"examples": [EXAMPLE]}):
    """The name and the password of a login."""

    user_name: Annotated[str, Field(max_length=200)]
    password: Annotated[str, Field(max_length=200)]
    type: Annotated[str, Field(max_length=20)] = ""


class LoggedIn(CamelModel):
    """The answer to a successful login or registration."""

    status: Literal["ok"] = "ok"
    type: str = ""
    current_authority: Authority
    token: str = Field(description="A JWT; the gateway keeps it in a cookie")
    expires_in: int = Field(description="Seconds the token is valid for")
    device: str = Field(description="A JWT, for the header x-known-device; the gateway keeps it in a cookie")


class LoginRefused(CamelModel):
    """The answer to a wrong name or password.

    The first front end, in React, reads `status` and `type`, so these are not those of RFC 9457.
    """

    status: Literal["error"] = "error"
    type: str = Field("", description="The type of the login as it was sent")
    current_authority: Literal["guest"] = "guest"
    title: str
    detail: str
    trace_id: str | None = None


class Label(CamelModel):
    """A text with its key."""

    key: str
    label: str


class Geographic(CamelModel):
    """The place of an account."""

    province: Label
    city: Label


class Profile(CamelModel):
    """The public profile of an account, or of the guest."""

    userid: str
    name: str
    avatar: str
    email: str = ""
    signature: str
    title: str
    group: str = "todolist"
    tags: list[Label]
    notify_count: int = Field(0, le=MOST_COUNTED, description="Notices; may be a second old, as may unreadCount")
    unread_count: int = Field(0, le=MOST_COUNTED, description="Those that are not read")
    country: str = "China"
    geographic: Geographic
    address: str = ""
    phone: str = ""
    access: Literal["guest", "user", "admin"]
    version: Literal["v1", "v2"] = Field(description="The version that answered")


class Account(CamelModel):
    """An account as an administrator sees it."""

    key: str = Field(validation_alias="id")
    name: str
    authority: Authority


class ItemData(BaseModel):
    """The data of an event: the item."""

    key: Annotated[str, Field(min_length=1, max_length=64), PlainText]
    name: Annotated[str, Field(max_length=200), PlainText]


class ItemEvent(BaseModel):
    """A CloudEvent about an item."""

    type: EventType
    source: Annotated[str, Field(max_length=200), PlainText]
    id: Annotated[str, Field(max_length=200), PlainText]
    subject: Annotated[str, Field(max_length=64, description="The owner's id"), PlainText]
    time: Annotated[AwareDatetime, AfterValidator(lambda time: time.astimezone(UTC))]
    data: ItemData


# For the OpenAPI document: in binary mode the attributes are headers, such as ce-type, and the body is `data` alone.
EVENT: JsonDict = {
    "type": "object",
    "required": ["specversion", "id", "source", "type"],
    "properties": {
        "specversion": {"const": "1.0"},
        **{name: {"type": "string", "minLength": 1} for name in ("id", "source", "type", "subject")},
        "time": {"type": "string", "format": "date-time"},
        "data": {"type": "object"},
    },
    "example": {
        "specversion": "1.0",
        "type": "todolist.item.done",
        "source": "/rule",
        "id": "6f0c0d5e-8a56-4c1f-9f3b-0f6a4f2f9c55",
        "subject": "guest",
        "time": "2026-11-28T02:10:05.123456Z",
        "data": {"key": "7", "name": "Buy milk"},
    },
}


class NoticeEvent(CamelModel):
    """The event that a notice was created from."""

    type: EventType
    source: str = Field(description="The service that sent it", examples=["/rule"])
    taken_by: str = Field(description="The process that took it", examples=["user/v1@user-v1-0"])
    seconds: float = Field(description="Seconds from the change until the event was received")
    key: str = Field(description="The item's")
    name: str = Field(description="The item's, at that time")


class Notice(CamelModel):
    """A notice, in the format of the first front end, in React."""

    id: str
    type: Literal["notification"] = "notification"
    title: str
    description: str
    datetime: datetime
    read: bool
    event: NoticeEvent


class NoticesRead(CamelModel, strict=True):
    """Marks all notices as read."""

    read: Literal[True]
