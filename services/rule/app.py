"""The rule service: the todo items."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, FastAPI, Query, Request, Response

from services.chassis.application import create_app as create_chassis_app
from services.chassis.caller import PARAMETERS, Caller
from services.chassis.database import Database
from services.chassis.problems import Problem, documented
from services.chassis.routing import DirectRoute
from services.rule import store
from services.rule.schemas import WINDOW, AfterDelete, Item, ItemCreate, ItemDelete, ItemUpdate, Page, PageQuery, Status
from services.rule.settings import Settings

FIRST_PAGE = PageQuery()
DOCUMENTED: dict[str, Any] = {"openapi_extra": {"parameters": PARAMETERS}}
WRITE_ERRORS = documented(403, 413, 415, 422, 503, 507)
# What can be done with the key of a new item.
LINKS: dict[int | str, dict[str, Any]] = {
    201: {
        "links": {
            name: {"operationRef": f"#/paths/~1api~1rule/{method}", "requestBody": {"key": "$response.body#/key"}}
            for name, method in (("update", "put"), ("delete", "delete"))
        }
    }
}

router = APIRouter(route_class=DirectRoute, tags=["rule"])


@router.get("/api/rule", response_model=Page, responses=documented(422, 503), **DOCUMENTED)
async def list_items(request: Request, query: Annotated[PageQuery, Query()]) -> Response:
    """Return a page of the caller's list."""
    caller = Caller.of(request)
    rows, total = await store.read_page(_database(request), caller.id, query)
    page = {"data": [_item(row, caller) for row in rows], **_total(total), "success": True}
    return _json({**page, "pageSize": query.pageSize, "current": query.current})


@router.post("/api/rule", status_code=201, response_model=Item, responses={**WRITE_ERRORS, **LINKS}, **DOCUMENTED)
async def create_item(request: Request, item: ItemCreate) -> Response:
    """Add an item to the caller's list."""
    caller = Caller.of(request)
    return _json(_item(await store.create(_database(request), caller.id, item), caller), 201)


@router.put("/api/rule", response_model=Item, responses={**WRITE_ERRORS, **documented(404)}, **DOCUMENTED)
async def update_item(request: Request, item: ItemUpdate) -> Response:
    """Change the given fields of one of the caller's items."""
    caller = Caller.of(request)
    row = await store.change(_database(request), caller.id, item)
    if row is None:
        raise Problem(404, "You have no item with this key.")
    return _json(_item(row, caller))


@router.delete("/api/rule", response_model=AfterDelete, responses=WRITE_ERRORS, **DOCUMENTED)
async def delete_items(request: Request, items: ItemDelete) -> Response:
    """Delete some of the caller's items and return the first page of what is left."""
    caller = Caller.of(request)
    await store.remove(_database(request), caller.id, items.keys)
    rows, total = await store.read_page(_database(request), caller.id, FIRST_PAGE)
    return _json({"list": [_item(row, caller) for row in rows], "pagination": _total(total)})


def create_app(settings: Settings) -> FastAPI:
    """Return the application."""
    database = Database(settings, Path(__file__).parent / "migrations")

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await database.start()
        yield
        await database.stop()

    app = create_chassis_app(
        service="rule",
        description="The todo items.",
        routes=router.routes,
        settings=settings,
        lifespan=lifespan,
        ready=database.ready,
    )
    app.state.database = database
    return app


def _database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


def _item(row: store.ItemRow, caller: Caller) -> dict[str, Any]:
    """Return an item as it is on the wire; its owner is the caller, for nobody else sees it."""
    # Unpacked in the order of the table's columns: reading each by its name takes three times as long.
    key, _, name, desc, status, changes, created_at, updated_at = tuple(row)[:8]
    return {
        "key": str(key),
        "name": name,
        "desc": desc,
        "status": status,
        "owner": caller.name,
        "href": f"/?key={key}",
        "avatar": "/avatars/item.svg",
        "callNo": changes,
        "progress": 100 if status == Status.DONE else 0,
        "disabled": status == Status.CLOSED,
        "createdAt": created_at,
        "updatedAt": updated_at,
    }


def _total(counted: int) -> dict[str, Any]:
    return {"total": min(counted, WINDOW), "totalIsExact": counted <= WINDOW}


def _json(content: Any, status: int = 200) -> Response:
    # SQLite gives times without a zone, PostgreSQL with: both are UTC.
    options = orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z
    return Response(orjson.dumps(content, option=options), status, media_type="application/json")
