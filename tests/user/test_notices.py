"""Notices: from events to the list, through HTTP, on SQLite and on PostgreSQL."""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from tests.conftest import ON_SQLITE, NewDatabase
from tests.forking import Forked
from tests.support import Service, as_caller, running, wait_until


def event(id: str, owner: str, what: str = "done", **changes: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "type": f"todolist.item.{what}",
        "source": "/rule",
        "id": id,
        "subject": owner,
        "time": datetime.now(UTC).isoformat(),
        "datacontenttype": "application/json",
        "data": {"key": "7", "name": "牛奶"},
        **changes,
    }


def post(user: Service, event: dict[str, Any]) -> httpx.Response:
    """Post an event in binary mode."""
    attributes = {name: value for name, value in event.items() if name not in ("data", "datacontenttype")}
    headers = {f"ce-{name}": value for name, value in attributes.items() if value is not None}
    headers["content-type"] = event["datacontenttype"]
    return user.client.post("/events", content=json.dumps(event["data"]), headers=headers)


def counts(user: Service, owner: str) -> tuple[int, int]:
    profile = user.client.get(f"/user/{owner}").json()
    return profile["notifyCount"], profile["unreadCount"]


def notices(user: Service, owner: str) -> list[dict]:
    answer = user.client.get("/api/notices", headers=as_caller(owner))
    assert answer.status_code == 200
    return answer.json()


@pytest.fixture
def owner(users: dict[str, Service], unique: Callable[[str], str]) -> str:
    """The id of a new account."""
    body = {"userName": unique("noticed"), "password": "a good password"}
    token = users["v1"].client.post("/user/register", json=body).json()["token"]
    return jwt.decode(token, options={"verify_signature": False})["sub"]


def test_an_event_becomes_a_notice(users: dict[str, Service], owner: str) -> None:
    happened = datetime.now(UTC) - timedelta(seconds=3)
    assert post(users["v1"], event(f"{owner}-1", owner, time=happened.isoformat())).status_code == 204
    (notice,) = notices(users["v2"], owner)
    way = notice.pop("event")
    assert notice == {
        "id": notice["id"],
        "type": "notification",
        "title": "牛奶",
        "description": "完成待办事项",
        "datetime": happened.isoformat().replace("+00:00", "Z"),
        "read": False,
    }
    assert isinstance(notice["id"], str)
    assert 3 <= way.pop("seconds") < 60
    taken_by = users["v1"].client.get("/readyz").headers["x-served-by"]
    assert way == {"type": "todolist.item.done", "source": "/rule", "takenBy": taken_by, "key": "7", "name": "牛奶"}


def test_the_newest_twenty_are_listed_and_all_are_counted(users: dict[str, Service], owner: str) -> None:
    now = datetime.now(UTC)
    # Order is not promised.
    for number in sorted(range(25), key=lambda number: number * 7 % 25):
        happened = (now - timedelta(seconds=100 - number)).isoformat()
        data = {"key": "7", "name": f"item {number}"}
        assert post(users["v1"], event(f"{owner}-{number}", owner, time=happened, data=data)).is_success
    assert [notice["title"] for notice in notices(users["v1"], owner)] == [f"item {n}" for n in range(24, 4, -1)]
    wait_until(lambda: counts(users["v2"], owner) == (25, 25), "both versions count", 2)


def test_each_event_counts_once(users: dict[str, Service], owner: str) -> None:
    """Sent twenty times to both versions, in both modes, with others, at the same time and later."""

    def send(number: int) -> None:
        sent = event(f"{owner}-{number // 20}", owner)
        user = users[f"v{number % 2 + 1}"]
        if number // 2 % 2:
            answer = post(user, sent)
        else:
            headers = {"content-type": "application/cloudevents+json; charset=utf-8"}
            answer = user.client.post("/events", content=json.dumps(sent), headers=headers)
        assert answer.status_code == 204, answer.text

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(send, [number * 7 % 100 for number in range(100)]))
    assert len(notices(users["v1"], owner)) == 5
    # Another source may use the same ids.
    assert post(users["v1"], event(f"{owner}-0", owner, source="/other")).is_success
    wait_until(lambda: counts(users["v1"], owner) == (6, 6), "the count is true", 2)


def test_notices_are_read(users: dict[str, Service], owner: str) -> None:
    for number in range(3):
        assert post(users["v1"], event(f"{owner}-{number}", owner)).is_success
    other = event(f"{owner}-other", "guest")
    assert post(users["v1"], other).is_success
    answer = users["v1"].client.put("/api/notices", json={"read": True}, headers=as_caller(owner))
    assert (answer.status_code, answer.content) == (204, b"")
    assert counts(users["v1"], owner) == (3, 0)
    # They cannot become unread.
    for body in ({"read": False}, {"read": "true"}, {}, []):
        assert users["v1"].client.put("/api/notices", json=body, headers=as_caller(owner)).status_code == 422
    assert {notice["read"] for notice in notices(users["v2"], owner)} == {True}
    assert notices(users["v2"], "guest")[0]["read"] is False
    assert post(users["v2"], event(f"{owner}-4", owner)).is_success
    wait_until(lambda: counts(users["v1"], owner) == (4, 1), "the new one is not read", 2)


def test_the_guests_list_has_notices_too(users: dict[str, Service], unique: Callable[[str], str]) -> None:
    before = counts(users["v1"], "guest")[0]
    assert post(users["v1"], event(unique("guest-event"), "guest")).is_success
    wait_until(lambda: counts(users["v1"], "guest")[0] == before + 1, "it is counted", 2)
    assert users["v1"].client.get("/api/notices").json()[0]["title"] == "牛奶"


INVALID: list[dict[str, Any]] = [
    {"id": None},
    {"source": None},
    {"type": None},
    {"specversion": None},
    {"specversion": "0.3"},
    {"specversion": "2.0"},
    {"id": ""},
    {"time": "yesterday"},
    {"time": "2026-11-28T00:00:00"},
    {"time": "0001-01-01T00:00:00+14:00"},
    {"subject": None},
    {"subject": "x" * 65},
    {"id": "a%00b"},
    {"data": None},
    {"data": {"key": "7"}},
    {"data": {"key": "7", "name": "nul \0"}},
    {"data": {"key": "7", "name": "half \ud800"}},
    {"data": ["7"]},
    {"datacontenttype": "text/plain", "data": "milk"},
]


def test_an_invalid_event_is_a_problem(users: dict[str, Service], owner: str) -> None:
    for changes in INVALID:
        answer = post(users["v1"], event(f"{owner}-1", owner) | changes)
        assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json"), changes
    assert notices(users["v1"], owner) == []


@ON_SQLITE
def test_any_other_body_is_a_problem(users: dict[str, Service]) -> None:
    for media_type in ("application/cloudevents+json", "application/json", "text/plain"):
        invalid = [b"", b"{", b"[]", b"7", b"{}", b"\xff", b'{"specversion": "1.0"}', b'{"time": 7}', b"[" * 50_000]
        for body in invalid:
            answer = users["v1"].client.post("/events", content=body, headers={"content-type": media_type})
            assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json"), body


def test_other_types_are_accepted_and_ignored(users: dict[str, Service], owner: str) -> None:
    for changes in ({"type": "com.example.other"}, {"what": "archived"}, {"type": "x", "subject": None, "data": "?"}):
        assert post(users["v1"], event(f"{owner}-1", owner, **changes)).status_code == 204
    assert notices(users["v1"], owner) == []


def test_notices_expire(new_database: NewDatabase, token_key: Path, tmp_path: Path) -> None:
    """Older events are accepted, but not recorded: their notice may have expired."""
    settings = {"DATABASE_URL": new_database(), "TOKEN_KEY_FILE": str(token_key)}
    user = Forked("user", tmp_path, **settings, NOTICE_LIFETIME="2")
    with running(user):
        first = event("1", "guest")
        assert post(user, first).is_success
        assert len(notices(user, "guest")) == 1

        def is_forgotten() -> bool:
            assert post(user, first).status_code == 204
            # In the future, as by a wrong clock: treated as now.
            future = (datetime.now(UTC) + timedelta(days=1)).isoformat()
            assert post(user, event(f"future {time.monotonic()}", "ann", time=future)).is_success
            return not notices(user, "guest")

        wait_until(is_forgotten, "the first one is gone", 10)
        assert notices(user, "ann")[0]["datetime"] < datetime.now(UTC).isoformat()
