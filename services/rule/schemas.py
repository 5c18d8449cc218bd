"""Request and response models of the rule service."""

import unicodedata
from datetime import datetime
from enum import IntEnum
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator
from pydantic.json_schema import SkipJsonSchema

from services.chassis.camel import CamelModel

# Totals are counted, and pages exist, up to here: items beyond it are found by searching.
WINDOW = 10_000


class Status(IntEnum):
    """The status of an item: 0 closed, 1 in progress, 2 done, 3 paused."""

    CLOSED = 0
    IN_PROGRESS = 1
    DONE = 2
    PAUSED = 3


def _plain_text(value: str) -> str:
    if "\0" in value:
        # PostgreSQL cannot store it.
        raise ValueError("must not contain the NUL character")
    return value


def _utf8(value: str) -> str:
    if "\ufffd" in value:
        # The framework replaces bytes of a URL that are not UTF-8 with this character.
        raise ValueError("must be UTF-8, percent-encoded")
    return value


def _visible(value: str) -> str:
    if not any(_can_be_seen(character) for character in value):
        raise ValueError("must have a character that can be seen")
    return value


def _can_be_seen(character: str) -> bool:
    category = unicodedata.category(character)
    # Letters, numbers, punctuation and symbols are visible; marks, formats and spaces by themselves are not. A code
    # point that is unassigned in this Python (Cn) may be an emoji: Unicode adds some each year.
    return character not in BLANK and (
        category[0] in "LNPS" or (category == "Cn" and "\U00010000" <= character < "\U00040000")
    )


def _absent(value: Any) -> None:
    if value is not None:
        raise ValueError("POST creates an item and takes no key: PUT changes an item, DELETE deletes items")


def _post(value: Any) -> None:
    if value is not None and str(value).lower() != "post":
        raise ValueError("POST creates an item: PUT changes one, DELETE deletes items")


# Invisible despite their category: Hangul fillers, the empty Braille pattern, the object replacement character, the
# null notehead, blanks between hieroglyphs.
BLANK = "\u115f\u1160\u3164\uffa0\u2800\ufffc\U0001d159\U00013441\U00013442"
PlainText = AfterValidator(_plain_text)
Utf8 = AfterValidator(_utf8)
Name = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), PlainText, AfterValidator(_visible)
]
Desc = Annotated[str, StringConstraints(max_length=2000), PlainText]
Key = Annotated[str, StringConstraints(max_length=64)]
# The first front end, in React, sends "2" for 2.
Digit = Annotated[int, Field(strict=True, ge=0, le=3)]
StatusNumber = Annotated[Digit | Literal["0", "1", "2", "3"], AfterValidator(int)]


class ItemCreate(CamelModel, strict=True, json_schema_extra={"examples": [{"name": "Buy milk", "desc": "Two"}]}):
    """A new item."""

    name: Name
    desc: Desc = ""
    # An older version of the first front end sends all changes by POST: they must not create further items.
    key: SkipJsonSchema[Annotated[Any, AfterValidator(_absent)]] = Field(None, exclude=True)
    method: SkipJsonSchema[Annotated[Any, AfterValidator(_post)]] = Field(None, exclude=True)


class ItemUpdate(CamelModel, strict=True, json_schema_extra={"examples": [{"key": "1", "status": 2}]}):
    """The fields of an item that change; the others stay."""

    key: Key
    name: Name | None = None
    desc: Desc | None = None
    status: StatusNumber | None = None


class ItemDelete(CamelModel, strict=True, json_schema_extra={"examples": [{"key": ["1", "2"]}]}):
    """The key, or up to 100 keys, of the items to delete."""

    key: Key | Annotated[list[Key], Field(min_length=1, max_length=100)]


class PageQuery(CamelModel):
    """Query parameters of a page: number, size, order, filters."""

    current: Annotated[int, Field(ge=1, le=WINDOW)] = 1
    page_size: Annotated[int, Field(ge=1, le=100)] = 20
    sorter: str = Field("createdAt_descend", pattern="^((name|status|createdAt|updatedAt)_(ascend|descend))?$")
    status: str = Field("", pattern="^([0-3](,[0-3]){0,9})?$", description="Statuses to keep", examples=["0,1"])
    name: Annotated[str, PlainText, Utf8] = Field(
        "", max_length=200, description="Text in the name; a to z in either case"
    )
    key: str = Field(
        "",
        pattern="^[^,]{1,64}(,[^,]{1,64}){0,99}$",
        description="Only the items with these keys, at most 100; filters, order and page are then ignored",
        examples=["1,2"],
    )

    @model_validator(mode="before")
    @classmethod
    def _without_empty_ones(cls, query: dict[str, Any]) -> dict[str, Any]:
        # The first front end, in React, ends each URL with "&sorter=".
        return {name: value for name, value in query.items() if value != ""}

    @model_validator(mode="after")
    def _inside_the_window(self) -> Self:
        if not self.key and self.offset + self.page_size > WINDOW:
            raise ValueError(f"only the first {WINDOW} items have pages; search or filter to reach the others")
        return self

    @property
    def keys(self) -> list[str]:
        """The keys of the requested items; empty means all."""
        return self.key.split(",") if self.key else []

    @property
    def offset(self) -> int:
        """How many items come before this page."""
        return (self.current - 1) * self.page_size

    @property
    def takes_long(self) -> bool:
        """Whether reading the page needs a long scan or sort."""
        # A search by name scans the whole list; a late page of several statuses reads and sorts all rows before it.
        is_late = self.offset + self.page_size > 1000
        return not self.key and bool(self.name or (is_late and len(self.statuses) > 1))

    @property
    def statuses(self) -> tuple[int, ...]:
        """The statuses to keep, in order; empty means all."""
        chosen = sorted({int(number) for number in self.status.split(",") if number})
        return () if len(chosen) == len(Status) else tuple(chosen)


class Item(CamelModel):
    """A todo item."""

    key: str = Field(examples=["1"])
    name: str = Field(examples=["Buy milk"])
    desc: str = Field(examples=["Two bottles"])
    status: Status
    owner: str = Field(description="The name of the list's owner", examples=["guest"])
    href: str = Field(description="Where the page shows the item", examples=["/?key=1"])
    avatar: str = "/avatars/item.svg"
    call_no: int = Field(description="How often the item was changed")
    progress: int = Field(description="Percent")
    disabled: bool = Field(description="Whether the item is closed")
    created_at: datetime
    updated_at: datetime


class Pagination(CamelModel):
    """How many items match, counted up to WINDOW."""

    total: int = Field(le=WINDOW)
    total_is_exact: bool = Field(description=f"False when more than {WINDOW} match")


class Page(Pagination):
    """A page of a list."""

    data: list[Item]
    success: Literal[True] = True
    page_size: int
    current: int


class AfterDelete(CamelModel):
    """The first page of what is left."""

    deleted: list[str] = Field(description="The keys of the deleted items", examples=[["1"]])
    list: list[Item]
    pagination: Pagination
