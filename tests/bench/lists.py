"""Lists of any length, inserted directly, and the time of a page of two of them."""

import http.client
import sqlite3
import time
from statistics import median
from urllib.parse import urlencode

import psycopg

from tests.support import Service, as_caller

OWNER = "guest"
REPEATS = 100
NUMBERS = "WITH RECURSIVE n(i) AS (SELECT CAST(1 AS bigint) UNION ALL SELECT i + 1 FROM n WHERE i < {count})"
TIMES = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f', 1700000000 + {seconds}, 'unixepoch') || '000'",
    "postgresql": "to_timestamp(1700000000 + {seconds})",
}
# Every order, every status, and a late page: 400 pages of 2, which a list of 1,000 has too.
QUERIES = {
    "default order": {},
    **{f"by {sorter}": {"sorter": sorter} for sorter in (
        "name_ascend", "name_descend", "status_ascend", "status_descend",
        "createdAt_ascend", "updatedAt_ascend", "updatedAt_descend",
    )},
    **{f"status {status}": {"status": status} for status in ("0", "1", "2", "3", "1,3")},
    "page 400": {"current": "400", "pageSize": "2"},
}  # fmt: skip


def fill(url: str, count: int) -> None:
    """Give OWNER exactly this many items."""
    kind = url.partition(":")[0]
    created, updated = (TIMES[kind].format(seconds=seconds) for seconds in ("i", f"((i * 7919) % {count})"))
    statements = (
        f"DELETE FROM items WHERE owner = '{OWNER}'",
        f"{NUMBERS.format(count=count)} INSERT INTO items "
        '(owner, name, "desc", status, changes, created_at, updated_at) '
        f"SELECT '{OWNER}', 'item ' || ((i * 6007) % {count}), 'two bottles', i % 4, 0, {created}, {updated} FROM n",
    )
    if kind == "sqlite":
        with sqlite3.connect(url.removeprefix("sqlite:///")) as file:
            for statement in ("PRAGMA cache_size = -500000", "PRAGMA synchronous = OFF", *statements):
                file.execute(statement)
        file.close()
        return
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)  # type: ignore[call-overload]
        connection.execute("VACUUM ANALYZE items")
        # Now, and not while pages are measured.
        connection.execute("CHECKPOINT")


def compare(short: Service, long: Service) -> dict[str, float]:
    """Return how long each kind of page takes at one rule service in multiples of another, medians of the rounds."""
    connections = [http.client.HTTPConnection("127.0.0.1", service.port) for service in (short, long)]
    ratios: dict[str, list[float]] = {name: [] for name in QUERIES}
    for _ in range(REPEATS):
        for name, query in QUERIES.items():
            few, many = (milliseconds(connection, f"/api/rule?{urlencode(query)}") for connection in connections)
            ratios[name].append(many / few)
    return {name: median(found) for name, found in ratios.items()}


def milliseconds(connection: http.client.HTTPConnection, path: str) -> float:
    """Return how long the answer to a GET takes."""
    started = time.perf_counter()
    connection.request("GET", path, headers=as_caller(OWNER))
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 200, answer.status
    return (time.perf_counter() - started) * 1000
