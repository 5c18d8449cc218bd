"""The rule service: the todo items."""

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, FastAPI, Query
from pydantic import TypeAdapter

from services.chassis.application import create_app as create_chassis_app
from services.chassis.caller import Caller, CallerDep
from services.chassis.database import Database, DatabaseDep
from services.chassis.database.groups import Rows
from services.chassis.problems import PROBLEMS, Problem
from services.rule import store
from services.rule.schemas import AfterDelete, Item, ItemCreate, ItemDelete, ItemUpdate, Page, PageQuery, Pagination
from services.rule.settings import Settings

router = APIRouter(tags=["rule"], responses=PROBLEMS)
ITEMS = TypeAdapter(list[Item])


@router.get("/api/rule")
async def list_items(query: Annotated[PageQuery, Query()], caller: CallerDep, database: DatabaseDep) -> Page:
    """Return a page of the caller's list."""
    found = await store.read_page(database, caller.id, query)
    return Page(
        data=_items(found.rows, caller),
        total=found.total,
        total_is_exact=found.total_is_exact,
        page_size=query.page_size,
        current=query.current,
    )


@router.post("/api/rule", status_code=201)
async def create_item(item: ItemCreate, caller: CallerDep, database: DatabaseDep) -> Item:
    """Add an item to the caller's list."""
    row = await store.create(database, caller.id, item)
    return _items([row], caller)[0]


@router.put("/api/rule")
async def update_item(item: ItemUpdate, caller: CallerDep, database: DatabaseDep) -> Item:
    """Change the given fields of one of the caller's items; with nothing to change it stays as it is."""
    row = await store.change(database, caller.id, item)
    if row is None:
        raise Problem(404, "You have no item with this key.")
    return _items([row], caller)[0]


@router.delete("/api/rule")
async def delete_items(items: ItemDelete, caller: CallerDep, database: DatabaseDep) -> AfterDelete:
    """Delete some of the caller's items and return the first page of what is left."""
    deleted = await store.remove(database, caller.id, [items.key] if isinstance(items.key, str) else items.key)
    left = await store.read_page(database, caller.id, PageQuery())
    pagination = Pagination(total=left.total, total_is_exact=left.total_is_exact)
    return AfterDelete(deleted=deleted, list=_items(left.rows, caller), pagination=pagination)


def create_app(settings: Settings) -> FastAPI:
    """Return the application."""
    database = Database(settings, Path(__file__).parent / "migrations")
    app = create_chassis_app(
        service="rule",
        router=router,
        settings=settings,
        lifespan=lambda _: database.running(),
        check=database.check,
    )
    app.state.database = database
    return app


def _items(rows: Rows, caller: Caller) -> list[Item]:
    """Return rows as items. Only their owner reads them, so the owner's name is the caller's."""
    return ITEMS.validate_python([{**row, "owner": caller.name} for row in rows])
