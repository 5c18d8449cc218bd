"""The clock jumps by a year.

Turning it would turn that of the whole machine. So the times that were written down before the jump, in tokens and in
the database, are turned the other way: the services see the same.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import jwt
import pytest

from tests.faults.conftest import Figure
from tests.support import Service, running

pytestmark = pytest.mark.quick

YEAR = timedelta(days=365)
TIMES = {
    "rule": {"items": ("created_at", "updated_at")},
    "user": {"accounts": ("created_at",), "login_attempts": ("window_ends_at",)},
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clock")


@pytest.fixture(scope="module")
def gateway(token_key: Path, directory: Path) -> Iterator[Service]:
    """A system with databases that can be changed from here."""
    user = Service("user", directory, TOKEN_KEY_FILE=str(token_key), LOGIN_ATTEMPTS="2")
    rule = Service("rule", directory)
    with running(user, rule), running(service := Service("todolist", directory, USER_URL=user.url, RULE_URL=rule.url)):
        yield service


def turn_database(file: Path, tables: dict[str, tuple[str, ...]], by: timedelta) -> None:
    with closing(sqlite3.connect(file, timeout=10)) as database, database:
        for table, columns in tables.items():
            for column in columns:
                for row, value in database.execute(f"SELECT rowid, {column} FROM {table}").fetchall():
                    turned = (datetime.fromisoformat(value) + by).isoformat(" ", "microseconds")
                    database.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (turned, row))


def turn_token(token: str, key: bytes, by: timedelta) -> str:
    claims = jwt.decode(token, options={"verify_signature": False})
    headers = {"kid": jwt.get_unverified_header(token)["kid"]}
    moved = {name: claims[name] + int(by.total_seconds()) for name in ("iat", "exp")}
    return jwt.encode({**claims, **moved}, key, algorithm="EdDSA", headers=headers)


@pytest.mark.parametrize(("direction", "jump"), [("forward", YEAR), ("back", -YEAR)])
def test_after_a_jump_of_the_clock_people_log_in_again(
    direction: str, jump: timedelta, gateway: Service, token_key: Path, directory: Path, figure: Figure
) -> None:
    account = {"userName": f"alice-{direction}", "password": "a good password"}
    client = httpx.Client(base_url=gateway.url, timeout=30, trust_env=False)
    assert client.post("/user/register", json=account).status_code == 201
    item = client.post("/api/rule", json={"name": "before"}).json()
    wrong = {**account, "password": "not the password"}
    statuses = [client.post("/api/login/account", json=wrong).status_code for _ in range(3)]
    assert statuses == [401, 401, 429]

    for name, tables in TIMES.items():
        turn_database(directory / f"data/{name}.db", tables, -jump)
    old = turn_token(client.cookies["jwtToken"], token_key.read_bytes(), -jump)
    client.cookies.clear()

    bearer = {"cookie": f"jwtToken={old}"}
    assert client.get("/api/currentUser", headers=bearer).json()["userid"] == "guest"
    assert client.put("/api/rule", json={"key": item["key"], "status": 2}, headers=bearer).status_code == 404
    # The guesses of before count no longer, or they would for a year.
    assert client.post("/api/login/account", json=account).status_code == 200
    assert client.get("/api/currentUser").json()["name"] == account["userName"]
    assert client.put("/api/rule", json={"key": item["key"], "status": 2}).status_code == 200
    for sorter in ("createdAt_ascend", "updatedAt_descend"):
        assert client.get("/api/rule", params={"sorter": sorter}).json()["total"] == 1
    client.close()
    figure(
        f"The clock jumps {direction} by a year: sessions end, the next login works, no item is lost",
        "the old token refused, 3 wrong passwords forgotten, 1 of 1 items there",
    )
