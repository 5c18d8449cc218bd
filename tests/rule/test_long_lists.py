"""A list that is longer than its pages reach."""

import asyncio
import sqlite3
from pathlib import Path

import httpx
import pytest

from tests.forking import Forked
from tests.support import Service, as_caller, running

COUNT = 10_050
OWNER = as_caller("collector")


@pytest.fixture(scope="module")
def full_rule(tmp_path_factory: pytest.TempPathFactory):
    directory = tmp_path_factory.mktemp("long")
    path = directory / "rule.db"
    service = Forked("rule", directory, DATABASE_URL=f"sqlite:///{path}")
    with running(service):
        fill(path)
        yield service


def fill(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.executemany(
            'INSERT INTO items (owner, name, "desc", status, changes, created_at, updated_at) '
            'VALUES (?, ?, "", ?, 0, ?, ?)',
            (
                (
                    "collector",
                    f"item {number:05}",
                    number % 2,
                    "2026-01-01 00:00:00.000000",
                    "2026-01-01 00:00:00.000000",
                )
                for number in range(COUNT)
            ),
        )
    connection.close()


def test_the_total_is_counted_up_to_the_window(full_rule: Service) -> None:
    page = full_rule.client.get("/api/rule", headers=OWNER).json()
    assert (page["total"], page["totalIsExact"]) == (10_000, False)
    half = full_rule.client.get("/api/rule?status=1", headers=OWNER).json()
    assert (half["total"], half["totalIsExact"]) == (COUNT // 2, True)


def test_the_total_is_exact_again_when_items_are_deleted(full_rule: Service) -> None:
    keys = [item["key"] for item in full_rule.client.get("/api/rule?pageSize=50", headers=OWNER).json()["data"]]
    answer = full_rule.client.request("DELETE", "/api/rule", json={"key": keys}, headers=OWNER).json()
    assert answer["pagination"] == {"total": 10_000, "totalIsExact": True}


def test_a_page_beyond_the_window_is_422(full_rule: Service) -> None:
    assert full_rule.client.get("/api/rule?current=100&pageSize=100", headers=OWNER).status_code == 200
    answer = full_rule.client.get("/api/rule?current=101&pageSize=100", headers=OWNER)
    assert answer.status_code == 422
    assert "10000" in answer.json()["errors"][0]["message"]


@pytest.mark.parametrize(
    ("query", "thread"),
    [
        ("", "read"),
        ("current=100&pageSize=100", "read"),
        ("status=0,1", "read"),
        ("status=0,1&current=11&pageSize=100", "search"),
        ("status=0,1,2,3&current=11&pageSize=100", "read"),
        ("name=a", "search"),
        ("name=a&key=1", "read"),
    ],
)
def test_only_quick_pages_share_the_thread_of_the_reads(query: str, thread: str, tmp_path: Path) -> None:
    from services.rule.app import create_app
    from services.rule.settings import Settings
    from services.rule.store import Found

    used: list[str] = []

    class Recording:
        async def read(self, *_: object) -> Found:
            used.append("read")
            return Found([], 0)

        async def search(self, *_: object) -> Found:
            used.append("search")
            return Found([], 0)

    app = create_app(Settings(database_url=f"sqlite:///{tmp_path}/rule.db"))
    app.state.database = Recording()

    async def ask() -> int:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://rule") as client:
            return (await client.get(f"/api/rule?{query}")).status_code

    assert asyncio.run(ask()) == 200
    assert used == [thread]


def test_items_are_looked_up_by_their_keys(full_rule: Service) -> None:
    from sqlalchemy import select
    from sqlalchemy.dialects import sqlite as dialect

    from services.rule.models import items
    from services.rule.store import _with_keys

    statement = select(items).where(*_with_keys("collector", [str(key) for key in range(1, 101)]))
    compiled = statement.compile(dialect=dialect.dialect(), compile_kwargs={"literal_binds": True})
    path = full_rule._environment["DATABASE_URL"].removeprefix("sqlite:///")
    with sqlite3.connect(path) as connection:
        (step,) = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {compiled}")]
    connection.close()
    assert "USING INTEGER PRIMARY KEY" in step


@pytest.mark.parametrize(
    "sorter", [f"{f}_{d}" for f in ("name", "status", "createdAt", "updatedAt") for d in ("ascend", "descend")]
)
@pytest.mark.parametrize("status", ["", "1", "0,1"])
def test_every_page_is_read_from_an_index(full_rule: Service, tmp_path: Path, sorter: str, status: str) -> None:
    from sqlalchemy.dialects import sqlite as dialect

    from services.rule.schemas import PageQuery
    from services.rule.store import _page

    statuses = PageQuery(status=status).statuses
    compiled = _page(sorter, statuses, False, with_total=True).compile(
        dialect=dialect.dialect(), compile_kwargs={"literal_binds": False}
    )
    path = full_rule._environment["DATABASE_URL"].removeprefix("sqlite:///")
    with sqlite3.connect(path) as connection:
        parameters = {"owner": "collector", "limit": 20, "offset": 0, "end": 20, "param_1": 10_001}
        values = [parameters.get(name, 10_001) for name in compiled.positiontup]
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {compiled}", values)]
    connection.close()
    reads = [step for step in plan if "items" in step]
    assert reads
    assert all("USING" in step and "INDEX items_by_" in step for step in reads), plan
    if "," not in status:
        assert not [step for step in plan if "TEMP B-TREE" in step], plan
