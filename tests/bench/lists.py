"""Lists of 1,000 and of 1,000,000 items, put into the database directly, and the time of a page of each."""

import http.client
import sqlite3
import time
from collections.abc import Callable
from statistics import median
from urllib.parse import urlencode

import psycopg

from tests.support import Service, as_caller

FEW, MANY = 1_000, 1_000_000
OWNER = "guest"
REPEATS = 25
NUMBERS = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})",
    "postgresql": "WITH n AS (SELECT i FROM generate_series(1::bigint, {count}) AS i)",
}
TIMES = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f', 1700000000 + {seconds}, 'unixepoch') || '000'",
    "postgresql": "to_timestamp(1700000000 + {seconds})",
}
# Every order within one status or none, the first page and a late one.
QUERIES = {
    "default order": {},
    **{f"by {sorter}": {"sorter": sorter} for sorter in (
        "name_ascend", "name_descend", "status_ascend", "status_descend",
        "createdAt_ascend", "updatedAt_ascend", "updatedAt_descend",
    )},
    **{f"status {status}": {"status": status} for status in ("0", "1", "2", "3", "1,3")},
    # 400 pages of 2: the shorter list has them too.
    "page 400": {"current": "400", "pageSize": "2"},
}  # fmt: skip


def fill(url: str, count: int) -> None:
    """Give OWNER exactly so many items."""
    kind = url.partition(":")[0]
    created, updated = (TIMES[kind].format(seconds=seconds) for seconds in ("i", f"((i * 7919) % {count})"))
    statements = (
        f"DELETE FROM items WHERE owner = '{OWNER}'",
        f"{NUMBERS[kind].format(count=count)} INSERT INTO items "
        '(owner, name, "desc", status, changes, created_at, updated_at) '
        f"SELECT '{OWNER}', 'item ' || ((i * 6007) % {count}), 'two bottles', i % 4, 0, {created}, {updated} FROM n",
    )
    if kind == "sqlite":
        with sqlite3.connect(url.removeprefix("sqlite:///")) as file:
            for statement in ("PRAGMA cache_size = -500000", "PRAGMA synchronous = OFF", *statements):
                file.execute(statement)
        return
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)  # type: ignore[call-overload]
        connection.execute("VACUUM ANALYZE items")


class Client:
    """One connection to a rule service."""

    def __init__(self, service: Service) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", service.port)

    def milliseconds(self, method: str, path: str, body: str | None = None) -> float:
        headers = {**as_caller(OWNER), **({"content-type": "application/json"} if body else {})}
        started = time.perf_counter()
        self._connection.request(method, path, body, headers)
        answer = self._connection.getresponse()
        answer.read()
        assert answer.status in (200, 201), answer.status
        return (time.perf_counter() - started) * 1000


def compare(few: Service, many: Service) -> dict[str, tuple[float, float]]:
    """Return for each kind of page, and for a creation, the median milliseconds with each list."""
    clients = Client(few), Client(many)

    def medians(send: Callable[[Client], float]) -> tuple[float, float]:
        for client in clients:
            send(client)
        pairs = [tuple(send(client) for client in clients) for _ in range(REPEATS)]
        return median(pair[0] for pair in pairs), median(pair[1] for pair in pairs)

    result = {}
    for name, query in QUERIES.items():
        path = f"/api/rule?{urlencode(query)}"
        result[name] = medians(lambda client, path=path: client.milliseconds("GET", path))  # type: ignore[misc]
    body = '{"name": "one more", "desc": "two bottles"}'
    result["create"] = medians(lambda client: client.milliseconds("POST", "/api/rule", body))
    return result
