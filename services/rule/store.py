"""All SQL of the rule service."""

import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Row, Select, bindparam, delete, func, insert, literal_column, select, union_all, update

from services.chassis.database import Database
from services.rule.models import items
from services.rule.schemas import WINDOW, ItemCreate, ItemUpdate, PageQuery, Status

COLUMNS = {
    "name": items.c.name,
    "status": items.c.status,
    "createdAt": items.c.created_at,
    "updatedAt": items.c.updated_at,
}

CREATE = insert(items).returning(*items.c, sort_by_parameter_order=True)
DELETE = (
    delete(items)
    .where(items.c.owner == bindparam("of"), items.c.id.in_(bindparam("ids", expanding=True)))
    .returning(items.c.id)
)

ESCAPE = "\\"
# What fits into a row id of 64 bits.
MAX_DIGITS = 18

ItemRow = Row[Any]

# Owners, and the selections of their items that had more than WINDOW, each until when that is taken for granted
# (seconds, monotonic): counting is the dearest part of their pages. Another replica's deletions show after LONG_FOR.
_long_lists: dict[str, dict[tuple[int, ...], float]] = {}
LONG_FOR = 5
MAX_LONG_LISTS = 1000


async def read_page(database: Database, owner: str, query: PageQuery) -> tuple[Sequence[ItemRow], int]:
    """Return the items of a page of the owner's list and how many match, counted up to one beyond WINDOW."""
    parameters = {"of": owner, "limit": query.pageSize, "offset": query.offset}
    parameters["end"] = query.offset + query.pageSize
    if query.name:
        parameters["pattern"] = f"%{_escaped(query.name)}%"
    statuses = () if len(query.statuses) == len(Status) else tuple(sorted(query.statuses))
    is_long = not query.name and _long_lists.get(owner, {}).get(statuses, 0) > time.monotonic()
    if is_long and (
        rows := await database.read(_page(query.sorter, statuses, by_name=False, counted=False), parameters)
    ):
        return rows, WINDOW + 1
    rows = await database.read(_page(query.sorter, statuses, bool(query.name)), parameters)
    if not rows:
        # A page beyond the end has no row that could carry the total.
        counted = await database.read(_count(statuses, bool(query.name)), parameters) if query.offset else [(0,)]
        return [], counted[0][0]
    total: int = rows[0].total
    if total > WINDOW and not query.name:
        if len(_long_lists) >= MAX_LONG_LISTS:
            _long_lists.clear()
        _long_lists.setdefault(owner, {})[statuses] = time.monotonic() + LONG_FOR
    return rows, total


async def create(database: Database, owner: str, item: ItemCreate) -> ItemRow:
    """Add an item to the owner's list and return it."""
    now = datetime.now(UTC)
    values = {"owner": owner, "name": item.name, "desc": item.desc, "status": Status.IN_PROGRESS.value, "changes": 0}
    return (await database.write(CREATE, {**values, "created_at": now, "updated_at": now}))[0]


async def change(database: Database, owner: str, item: ItemUpdate) -> ItemRow | None:
    """Change the given fields of an item and return it as it then is, or None if the owner has no such item."""
    fields = item.model_dump(exclude={"key"}, exclude_none=True)
    ids = _ids([item.key])
    if not ids:
        return None
    values = {**fields, "updated_at": datetime.now(UTC)}
    rows = await database.write(
        _update(tuple(fields)), {"of": owner, "the_id": ids[0], **{f"new_{k}": v for k, v in values.items()}}
    )
    _long_lists.pop(owner, None)
    return rows[0] if rows else None


async def remove(database: Database, owner: str, keys: Sequence[str]) -> None:
    """Delete the owner's items of these keys; keys of nobody or of others are ignored."""
    if ids := _ids(keys):
        await database.write(DELETE, {"of": owner, "ids": ids})
        _long_lists.pop(owner, None)


def _ids(keys: Sequence[str]) -> list[int]:
    """Return the row ids that the keys stand for, without the keys that no item can have."""
    return [
        int(key)
        for key in dict.fromkeys(keys)
        if key.isascii() and key.isdigit() and len(key) <= MAX_DIGITS and str(int(key)) == key
    ]


def _escaped(text: str) -> str:
    """Return a LIKE pattern that matches exactly this text, with A to Z in lower case."""
    # As the databases' lower() does to a name; PostgreSQL's own would take other letters too from a text of no column.
    return re.sub(r"([%_\\])", r"\\\1", text).encode().lower().decode()


def _matching(statuses: tuple[int, ...], by_name: bool) -> list[Any]:
    """Return the conditions of the owner's items that a query asks for."""
    conditions: list[Any] = [items.c.owner == bindparam("of")]
    if len(statuses) == 1:
        # A literal: one cached statement for each status lets the planner use the index of that status.
        conditions.append(items.c.status == literal_column(str(statuses[0])))
    elif statuses:
        conditions.append(items.c.status.in_([literal_column(str(status)) for status in statuses]))
    if by_name:
        conditions.append(func.lower(items.c.name).like(bindparam("pattern"), escape=ESCAPE))
    return conditions


@lru_cache(maxsize=512)
def _count(statuses: tuple[int, ...], by_name: bool) -> Select[Any]:
    counted: Select[Any] = (
        select(literal_column("1")).select_from(items).where(*_matching(statuses, by_name)).limit(WINDOW + 1)
    )
    return select(func.count()).select_from(counted.subquery())


@lru_cache(maxsize=512)
def _page(sorter: str, statuses: tuple[int, ...], by_name: bool, counted: bool = True) -> Any:
    """Return the statement of a page: its items, each with the total if that is to be counted.

    With several statuses the first rows of each are read in order and merged: the index gives every
    order within one status only, and picking them out of the whole list would read all of it.
    """
    field, direction = sorter.rsplit("_", 1)
    column = COLUMNS[field]
    keys = [column] if field != "status" else [items.c.status, items.c.created_at]
    order = [key.desc() if direction == "descend" else key.asc() for key in (*keys, items.c.id)]
    total = [_count(statuses, by_name).scalar_subquery().label("total")] if counted else []
    parts = statuses if len(statuses) > 1 else (None,)
    pages = []
    for status in parts:
        conditions = _matching(statuses if status is None else (status,), by_name)
        pages.append(select(items).where(*conditions).order_by(*order))
    if len(pages) == 1:
        return pages[0].add_columns(*total).limit(bindparam("limit")).offset(bindparam("offset"))
    firsts = [select(page.limit(bindparam("end")).subquery()) for page in pages]
    merged = union_all(*firsts).subquery()
    order = [
        merged.c[key.name].desc() if direction == "descend" else merged.c[key.name].asc() for key in (*keys, items.c.id)
    ]
    return select(merged, *total).order_by(*order).limit(bindparam("limit")).offset(bindparam("offset"))


@lru_cache(maxsize=16)
def _update(fields: tuple[str, ...]) -> Any:
    values = {items.c[name]: bindparam(f"new_{name}", type_=items.c[name].type) for name in (*fields, "updated_at")}
    mine = items.c.owner == bindparam("of"), items.c.id == bindparam("the_id")
    return update(items).where(*mine).values({**values, items.c.changes: items.c.changes + 1}).returning(*items.c)
