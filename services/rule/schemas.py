"""What is on the wire of the rule service."""

from datetime import datetime
from enum import IntEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, field_validator, model_validator

# Totals are counted up to here, and pages end here: what lies beyond is found by searching.
WINDOW = 10_000


class Status(IntEnum):
    """How far an item is."""

    CLOSED = 0
    IN_PROGRESS = 1
    DONE = 2
    PAUSED = 3


def _number(value: Any) -> Any:
    """Return the number that a string of one digit writes: forms send "2" for 2."""
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return int(value) if isinstance(value, str) and value in ("0", "1", "2", "3") else value


def _plain_text(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not contain the NUL character")
    return value


StatusField = Annotated[
    Literal[0, 1, 2, 3], BeforeValidator(_number, json_schema_input_type=Literal[0, 1, 2, 3, "0", "1", "2", "3"])
]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Desc = Annotated[str, StringConstraints(max_length=2000)]
Key = Annotated[str, StringConstraints(max_length=64)]


class Body(BaseModel):
    """A request's body: JSON's own types, no text with a NUL."""

    model_config = ConfigDict(strict=True)

    @field_validator("name", "desc", mode="after", check_fields=False)
    @classmethod
    def _check(cls, value: str | None) -> str | None:
        return value if value is None else _plain_text(value)


class ItemCreate(Body):
    """A new item."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Buy milk", "desc": "Two bottles"}]})

    name: Name
    desc: Desc = ""


class ItemUpdate(Body):
    """The fields of an item that change; the others stay."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"key": "1", "status": 2}]})

    key: Key
    name: Name | None = None
    desc: Desc | None = None
    status: StatusField | None = None


class ItemDelete(Body):
    """The key, or up to 100 keys, of the items to delete."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"key": ["1", "2"]}]})

    key: Key | Annotated[list[Key], Field(min_length=1, max_length=100)]

    @property
    def keys(self) -> list[str]:
        """The keys, one or many."""
        return [self.key] if isinstance(self.key, str) else self.key


class PageQuery(BaseModel):
    """Which page of the list, in which order, of which items."""

    current: Annotated[int, Field(ge=1, le=WINDOW)] = 1
    pageSize: Annotated[int, Field(ge=1, le=100)] = 20
    sorter: Annotated[
        str,
        Field(
            pattern="^(name|status|createdAt|updatedAt)_(ascend|descend)$",
            description="The order; the default is newest first.",
        ),
    ] = "createdAt_descend"
    status: Annotated[
        str,
        Field(
            pattern="^([0-3](,[0-3]){0,9})?$", description="Statuses to keep, separated by commas.", examples=["0,1"]
        ),
    ] = ""
    name: Annotated[str, Field(max_length=200, description="Text that the name contains; A to Z in either case.")] = ""

    @property
    def offset(self) -> int:
        """How many items come before this page."""
        return (self.current - 1) * self.pageSize

    @property
    def statuses(self) -> frozenset[int]:
        """The statuses to keep; none means all."""
        return frozenset(int(number) for number in self.status.split(",") if number)

    @field_validator("name")
    @classmethod
    def _searchable(cls, value: str) -> str:
        return _plain_text(value.strip())

    @model_validator(mode="after")
    def _inside_the_window(self) -> "PageQuery":
        if self.offset + self.pageSize > WINDOW:
            raise ValueError(f"only the first {WINDOW} items have pages; search or filter to reach the others")
        return self


class Item(BaseModel):
    """A todo item."""

    key: str = Field(examples=["1"])
    name: str = Field(examples=["Buy milk"])
    desc: str = Field(examples=["Two bottles"])
    status: Literal[0, 1, 2, 3] = Field(description="0 closed, 1 in progress, 2 done, 3 paused")
    owner: str = Field(description="The name of the list's owner", examples=["guest"])
    href: str
    avatar: str = Field(examples=["/avatars/item.svg"])
    callNo: int = Field(description="How often the item was changed")
    progress: int = Field(description="Percent", ge=0, le=100)
    disabled: bool = Field(description="Whether the item is closed")
    createdAt: datetime
    updatedAt: datetime


class Page(BaseModel):
    """A page of a list."""

    data: list[Item]
    total: int = Field(description=f"Items that match, counted up to {WINDOW}", le=WINDOW)
    totalIsExact: bool = Field(description=f"False when more than {WINDOW} match")
    success: Literal[True] = True
    pageSize: int
    current: int


class Pagination(BaseModel):
    """How many items there are."""

    total: int
    totalIsExact: bool


class AfterDelete(BaseModel):
    """The first page of what is left."""

    list: list[Item]
    pagination: Pagination
