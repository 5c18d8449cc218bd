"""The rule service: the todo items."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, FastAPI, Header, Query, Request
from pydantic import TypeAdapter

from services.chassis.application import create_app as create_chassis_app
from services.chassis.application import served_by
from services.chassis.caller import Caller, CallerDep
from services.chassis.database import Database, DatabaseDep, Row
from services.chassis.disconnect import until_disconnect
from services.chassis.problems import PROBLEMS, Problem
from services.rule import store
from services.rule.relay import Relay, RelayDep
from services.rule.schemas import (
    AfterDelete,
    Item,
    ItemCreate,
    ItemDelete,
    ItemUpdate,
    Page,
    PageQuery,
    Pagination,
    Status,
)
from services.rule.settings import Settings

router = APIRouter(tags=["rule"], responses=PROBLEMS)
ITEMS = TypeAdapter(list[Item])


@router.get("/api/rule")
async def list_items(
    query: Annotated[PageQuery, Query()], caller: CallerDep, database: DatabaseDep, request: Request
) -> Page:
    """Return a page of the caller's list."""
    if query.takes_long:  # Other reads take milliseconds: not worth ending when the client disconnects.
        found = await until_disconnect(request, database.search(store.read_page, caller.id, query))
    else:
        found = await database.read(store.read_page, caller.id, query)
    return Page(
        data=_items(found.rows, caller),
        total=found.total,
        total_is_exact=found.total_is_exact,
        page_size=query.page_size,
        current=query.current,
    )


@router.post("/api/rule", status_code=201)
async def create_item(
    item: ItemCreate,
    caller: CallerDep,
    database: DatabaseDep,
    relay: RelayDep,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=100)] = None,
) -> Item:
    """Add an item to the caller's list. With an Idempotency-Key the request is idempotent."""
    if idempotency_key:
        row = await database.write(store.create_once, caller.id, item, relay.cause(), idempotency_key)
    else:
        row = await database.insert(store.create, (caller.id, item, relay.cause()))
    relay.wake()
    return _items([row], caller)[0]


@router.put("/api/rule")
async def update_item(item: ItemUpdate, caller: CallerDep, database: DatabaseDep, relay: RelayDep) -> Item:
    """Change the given fields of one of the caller's items."""
    row = await database.write(store.change, caller.id, item, relay.cause())
    relay.wake()
    if row is None:
        raise Problem(404, "You have no item with this key.")
    return _items([row], caller)[0]


@router.delete("/api/rule")
async def delete_items(items: ItemDelete, caller: CallerDep, database: DatabaseDep, relay: RelayDep) -> AfterDelete:
    """Delete some of the caller's items and return the first page of what is left."""
    keys = [items.key] if isinstance(items.key, str) else items.key
    deleted, left = await database.write(store.remove, caller.id, keys, relay.cause())
    relay.wake()
    pagination = Pagination(total=left.total, total_is_exact=left.total_is_exact)
    return AfterDelete(deleted=deleted, list=_items(left.rows, caller), pagination=pagination)


def create_app(settings: Settings) -> FastAPI:
    """Return the application."""
    database = Database(settings, Path(__file__).parent / "migrations")
    relay = Relay(str(settings.k_sink) if settings.k_sink else None, database)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with database.running(), relay.running():
            yield

    app = create_chassis_app(
        service="rule",
        router=router,
        settings=settings,
        edge=served_by("rule", settings),
        lifespan=lifespan,
        check=database.check,
    )
    app.state.database, app.state.relay = database, relay
    return app


def _items(rows: Sequence[Row], caller: Caller) -> list[Item]:
    """Return rows as response models. Only the owner can read them, so the owner's name is the caller's."""
    return ITEMS.validate_python(
        [
            {
                **row,
                "key": str(row["id"]),
                "owner": caller.name,
                "href": f"/?key={row['id']}",
                "call_no": row["changes"],
                "progress": 100 if row["status"] == Status.DONE else 0,
                "disabled": row["status"] == Status.CLOSED,
            }
            for row in rows
        ]
    )
