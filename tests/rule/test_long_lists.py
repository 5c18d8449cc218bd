"""A list that is longer than its pages reach."""

import sqlite3
from contextlib import closing
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, event

from services.rule.schemas import PageQuery
from services.rule.store import read_page
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
    day = "2026-01-01 00:00:00.000000"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(
            'INSERT INTO items (owner, name, "desc", status, changes, created_at, updated_at) '
            f"VALUES ('collector', ?, '', ?, 0, '{day}', '{day}')",
            ((f"item {number:05}", number % 2) for number in range(COUNT)),
        )


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
    ("query", "takes_long"),
    [
        ({}, False),
        ({"current": 100, "pageSize": 100}, False),
        ({"status": "0,1"}, False),
        ({"status": "0,1", "current": 11, "pageSize": 100}, True),
        ({"status": "0,1,2,3", "current": 11, "pageSize": 100}, False),
        ({"name": "a"}, True),
        ({"name": "a", "key": "1"}, False),
    ],
)
def test_pages_that_take_long_are_searches(query: dict[str, Any], takes_long: bool) -> None:
    """The others share a thread."""
    assert PageQuery.model_validate(query).takes_long == takes_long


def test_items_are_looked_up_by_their_keys_and_pages_read_from_an_index(full_rule: Service) -> None:
    """SQLite's planner would rather scan the owner's list, or sort it."""
    engine = create_engine(full_rule._environment["DATABASE_URL"])
    statements: list[tuple[str, Any]] = []
    fields, directions = ("name", "status", "createdAt", "updatedAt"), ("ascend", "descend")
    queries: list[dict[str, Any]] = [{"key": ",".join(map(str, range(1, 101)))}]
    queries += [
        {"sorter": f"{field}_{direction}", "status": status}
        for field, direction, status in product(fields, directions, ("", "1", "0,1"))
    ]
    with engine.connect() as connection:
        event.listen(connection, "before_cursor_execute", lambda *found: statements.append(found[2:4]))
        for query in queries:
            statements.clear()
            read_page(connection, "collector", PageQuery(**query))
            plan = [
                step[3]
                for statement, values in list(statements)
                for step in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
            ]
            reads = [step for step in plan if "items" in step]
            assert reads
            index = "USING INTEGER PRIMARY KEY" if "key" in query else "INDEX items_by_"
            assert all(index in step for step in reads), (query, plan)
            # Only a page of several statuses is sorted.
            assert query.get("status") == "0,1" or not [step for step in plan if "TEMP B-TREE" in step], (query, plan)
    engine.dispose()
