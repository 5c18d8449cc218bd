"""The SQL of the items; outbox.py has that of the events."""

import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from threading import Lock
from typing import Any, NamedTuple

from cachetools import TTLCache
from pydantic.alias_generators import to_snake
from sqlalchemy import (
    Connection,
    Select,
    bindparam,
    delete,
    false,
    func,
    insert,
    literal_column,
    or_,
    select,
    union_all,
    update,
)
from sqlalchemy.exc import IntegrityError

from services.chassis.database import Row, rows_of
from services.rule import outbox
from services.rule.models import items
from services.rule.outbox import Cause, EventType
from services.rule.schemas import WINDOW, ItemCreate, ItemUpdate, PageQuery, Status

# The rows are returned in the order of the values.
INSERT = insert(items).returning(*items.c, sort_by_parameter_order=True)

# By owner, the status filters that matched more than WINDOW items: their pages are not counted again. Entries expire
# after 5 s; until then a total may miss deletions at other replicas. Shared by several threads.
long_lists: TTLCache[str, set[tuple[int, ...]]] = TTLCache(maxsize=1000, ttl=5)
long_lists_lock = Lock()


class Found(NamedTuple):
    """The items of a page, and how many match in the whole list, counted up to WINDOW."""

    rows: list[Row]
    total: int
    total_is_exact: bool = True


def read_page(connection: Connection, owner: str, query: PageQuery) -> Found:
    """Return the items of a page of the owner's list."""
    if query.keys:
        rows = rows_of(connection.execute(select(items).where(*_with_keys(owner, query.keys))))
        return Found(rows, len(rows))
    statuses, by_name = query.statuses, bool(query.name)
    parameters = {
        "owner": owner,
        "pattern": f"%{_escaped(query.name)}%" if by_name else "",
        "limit": query.page_size,
        "offset": query.offset,
        "end": query.offset + query.page_size,
    }
    with long_lists_lock:
        is_long = not by_name and statuses in long_lists.get(owner, ())
    statement = _page(query.sorter, statuses, by_name, with_total=not is_long)
    rows = rows_of(connection.execute(statement, parameters))
    if is_long and rows:
        return Found(rows, WINDOW, total_is_exact=False)
    if rows:
        total = rows[0]["total"]
    elif query.offset:
        # A page beyond the end has no row with the total.
        total = connection.execute(_count(statuses, by_name), parameters).scalar_one()
    else:
        total = 0
    if total <= WINDOW:
        return Found(rows, total)
    if not by_name:
        with long_lists_lock:
            long_lists.setdefault(owner, set()).add(statuses)
    return Found(rows, WINDOW, total_is_exact=False)


def create(
    connection: Connection, new: Sequence[tuple[str, ItemCreate, Cause | None]], idempotency_key: str | None = None
) -> list[Row]:
    """Add items, each to the list of its owner, and return them in the same order."""
    now = datetime.now(UTC)
    values = {"status": Status.IN_PROGRESS, "changes": 0, "created_at": now, "updated_at": now}
    values |= {"idempotency_key": idempotency_key}
    added = connection.execute(INSERT, [{"owner": owner, **item.model_dump(), **values} for owner, item, _ in new])
    rows = rows_of(added)
    causes = [cause for _, _, cause in new]
    outbox.add(connection, [(EventType.CREATED, row, why) for row, why in zip(rows, causes, strict=True) if why])
    return rows


def create_once(connection: Connection, owner: str, item: ItemCreate, cause: Cause | None, idempotency_key: str) -> Row:
    """Add an item, or return the owner's item with this idempotency key, in its current state."""
    mine = (items.c.owner == owner, items.c.idempotency_key == idempotency_key)
    # Retried if the item was deleted before it could be read.
    for _ in range(10):
        with suppress(IntegrityError), connection.begin_nested():
            return create(connection, [(owner, item, cause)], idempotency_key)[0]
        if rows := rows_of(connection.execute(select(items).where(*mine))):
            return rows[0]
    return create(connection, [(owner, item, cause)], idempotency_key)[0]


def change(connection: Connection, owner: str, item: ItemUpdate, cause: Cause | None) -> Row | None:
    """Change the given fields of an item and return it, or None if the owner has no such item."""
    fields = item.model_dump(exclude={"key"}, exclude_none=True)
    mine = _with_keys(owner, [item.key])
    before = None
    if cause and item.status is not None:
        # Locked: of two concurrent requests that set "done", only one creates the event.
        before = connection.scalar(select(items.c.status).where(*mine).with_for_update())
    # Setting a field to its current value does not count as a change; neither does a request without fields.
    differs = or_(false(), *(items.c[name] != value for name, value in fields.items()))
    values = {**fields, "changes": items.c.changes + 1, "updated_at": datetime.now(UTC)}
    changed = connection.execute(update(items).where(*mine, differs).values(values).returning(*items.c))
    rows = rows_of(changed) or rows_of(connection.execute(select(items).where(*mine)))
    if cause and (event_type := _event_type(before, fields.get("status"))):
        outbox.add(connection, [(event_type, row, cause) for row in rows])
    _forget_long_list(owner)
    return rows[0] if rows else None


def remove(connection: Connection, owner: str, keys: Sequence[str], cause: Cause | None) -> tuple[list[str], Found]:
    """Delete the owner's items with these keys; return the deleted keys, and the first page of the remaining items."""
    # Locked in a fixed order: two deletions of the same items would otherwise deadlock.
    mine = select(items.c.id).where(*_with_keys(owner, keys)).order_by(items.c.id)
    deleted = delete(items).where(items.c.id.in_(mine.with_for_update()))
    rows = rows_of(connection.execute(deleted.returning(items.c.id, items.c.owner, items.c.name)))
    if cause:
        outbox.add(connection, [(EventType.DELETED, row, cause) for row in rows])
    _forget_long_list(owner)
    return [str(row["id"]) for row in rows], read_page(connection, owner, PageQuery())


def _event_type(before: int | None, after: int | None) -> EventType | None:
    """Return the event type of a status change, or None if the change causes no event."""
    if before is None or after is None or before == after:
        return None
    if after == Status.DONE:
        return EventType.DONE
    was_over = before in (Status.CLOSED, Status.DONE)
    return EventType.REOPENED if was_over and after != Status.CLOSED else None


def _forget_long_list(owner: str) -> None:
    with long_lists_lock:
        long_lists.pop(owner, None)


def _with_keys(owner: str, keys: Sequence[str]) -> tuple[Any, ...]:
    """Return the conditions of the owner's items with these keys."""
    # Not `owner = :owner`: from five keys on, SQLite would use the index on owner, and scan the owner's whole list.
    return items.c.owner.concat("") == owner, items.c.id.in_(_ids(keys))


def _ids(keys: Sequence[str]) -> list[int]:
    """Return the row ids of the keys, without keys that no item can have."""
    # 18 digits fit into a row id of 64 bits.
    return [int(key) for key in keys if re.fullmatch("[1-9][0-9]{0,17}", key)]


def _escaped(text: str) -> str:
    r"""Return the text without spaces around it, in lower case (A to Z), and escaped with \ for LIKE."""
    # bytes.lower() changes only A to Z, as lower() does in SQLite and in the column's collation in PostgreSQL.
    return re.sub(r"([%_\\])", r"\\\1", text.strip()).encode().lower().decode()


def _matching(statuses: tuple[int, ...], by_name: bool) -> list[Any]:
    """Return the conditions of WHERE."""
    conditions: list[Any] = [items.c.owner == bindparam("owner")]
    # Literals, not parameters: so PostgreSQL plans with the statistics of these statuses.
    if statuses:
        conditions.append(items.c.status.in_([literal_column(str(status)) for status in statuses]))
    if by_name:
        conditions.append(func.lower(items.c.name).like(bindparam("pattern"), escape="\\"))
    return conditions


@cache
def _count(statuses: tuple[int, ...], by_name: bool) -> Select[Any]:
    """Return the statement that counts the matching items, up to one beyond WINDOW."""
    counted: Select[Any] = (
        select(literal_column("1")).select_from(items).where(*_matching(statuses, by_name)).limit(WINDOW + 1)
    )
    return select(func.count().label("total")).select_from(counted.subquery())


@cache
def _page(sorter: str, statuses: tuple[int, ...], by_name: bool, *, with_total: bool) -> Select[Any]:
    """Return the statement of a page: its items, each with the total if requested.

    With several statuses the first rows of each are read in order and merged. An index has the rows of one status in
    each order; without the merge the database would read and sort the whole list.
    """
    field, direction = sorter.split("_")
    names = ["status", "created_at", "id"] if field == "status" else [to_snake(field), "id"]

    def ordered(statement: Select[Any], columns: Any) -> Select[Any]:
        keys = [columns[name] for name in names]
        return statement.order_by(*(key.asc() if direction == "ascend" else key.desc() for key in keys))

    parts = [(status,) for status in statuses] if len(statuses) > 1 else [statuses]
    pages = [ordered(select(items).where(*_matching(part, by_name)), items.c) for part in parts]
    page = pages[0]
    if len(pages) > 1:
        merged = union_all(*(select(each.limit(bindparam("end")).subquery()) for each in pages)).subquery()
        page = ordered(select(merged), merged.c)
    if with_total:
        page = page.add_columns(_count(statuses, by_name).scalar_subquery().label("total"))
    return page.limit(bindparam("limit")).offset(bindparam("offset"))
