"""Events: no event of an acknowledged change is lost, each is recorded once, and no request waits for one."""

import random
import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import jwt
import pytest

from tests.conftest import ON_SQLITE, NewDatabase
from tests.faults.callers import Callers
from tests.faults.conftest import Figure
from tests.forking import Forked
from tests.sink import running_sink
from tests.support import Service, as_caller, free_port, running, wait_until

KILLS = 20
WAITING, SECONDS = 10_000, 120


def account(user: Service, name: str) -> str:
    """Register an account and return its id."""
    answer = user.client.post("/user/register", json={"userName": name, "password": "a good password"})
    return str(jwt.decode(answer.json()["token"], options={"verify_signature": False})["sub"])


def notices(user: Service, owner: str) -> int:
    return int(user.client.get(f"/user/{owner}").json()["notifyCount"])


def oldest(rule: Service) -> float:
    """Return the age of the oldest event that waits, in seconds."""
    lines = rule.client.get("/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("outbox_oldest_event_seconds "))


@contextmanager
def changing(rule: Service, owners: list[str]) -> Iterator[dict[str, int]]:
    """Let each owner create items and mark them as done, again and again; count what was acknowledged."""
    ended, acknowledged = threading.Event(), dict.fromkeys(owners, 0)

    def work(owner: str) -> None:
        with httpx.Client(base_url=rule.url, headers=as_caller(owner), trust_env=False) as client:
            while not ended.is_set():
                try:
                    created = client.post("/api/rule", json={"name": "milk"})
                    acknowledged[owner] += created.is_success
                    done = client.put("/api/rule", json={"key": created.json().get("key", ""), "status": 2})
                    acknowledged[owner] += done.is_success
                except httpx.TransportError:
                    # It is being killed.
                    ended.wait(0.02)

    with ThreadPoolExecutor(len(owners)) as pool:
        threads = [pool.submit(work, owner) for owner in owners]
        try:
            yield acknowledged
        finally:
            ended.set()
    for thread in threads:
        thread.result()


@pytest.mark.timeout(300)
def test_no_event_is_lost_or_counts_twice_by_kill_9(
    new_database: NewDatabase, token_key: Path, tmp_path: Path, figure: Figure, request: pytest.FixtureRequest
) -> None:
    """One delivery in three, at random, is sent twice at the same time; in the end all are sent once more."""
    user = Forked("user", tmp_path, DATABASE_URL=new_database(), TOKEN_KEY_FILE=str(token_key))

    def forward(headers: dict[str, str], body: bytes) -> int:
        def post(_: int) -> int:
            kept = {name: headers[name] for name in headers if name.startswith("ce-")}
            sent = {**kept, "content-type": headers["content-type"]}
            try:
                return httpx.post(f"{user.url}/events", content=body, headers=sent, trust_env=False).status_code
            except httpx.TransportError:
                return 503

        with ThreadPoolExecutor(2) as pool:
            return min(pool.map(post, range(random.choice((1, 1, 2)))))

    with running_sink(forward) as sink:
        rule = Forked("rule", tmp_path, DATABASE_URL=new_database(), K_SINK=sink.url)
        with running(rule, user):
            owners = [account(user, f"owner{number}") for number in range(4)]
            with changing(rule, owners) as acknowledged:
                for _ in range(KILLS):
                    before = sum(acknowledged.values())
                    wait_until(lambda before=before: sum(acknowledged.values()) > before, "changes are acknowledged")
                    time.sleep(random.uniform(0, 0.3))
                    killed = random.choice(([rule], [user], [rule, user]))
                    for service in killed:
                        service.kill()
                    for service in killed:
                        service.restart()

            def made(owner: str) -> int:
                """Count what is in the database: a change whose acknowledgement was lost has an event, too."""
                return sum(
                    rule.client.get("/api/rule", params=query, headers=as_caller(owner)).json()["total"]
                    for query in ({}, {"status": "2"})
                )

            expected = {owner: made(owner) for owner in owners}
            assert all(expected[owner] >= acknowledged[owner] > 0 for owner in owners)
            wait_until(lambda: all(notices(user, o) >= expected[o] for o in owners), "all events have arrived", 90)
            for headers, body in list(sink.got):
                assert forward(headers, body) < 300
            wait_until(lambda: {o: notices(user, o) for o in owners} == expected, "each counts once", 3)
    kind = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}[request.node.callspec.params["new_database"]]
    figure(
        f"`kill -9` of `rule`, `user` or both loses no event, and none counts twice, on {kind}",
        f"{KILLS} kills; {sum(expected.values())} changes, {len(sink.got)} deliveries",
    )


@ON_SQLITE
@pytest.mark.alone
def test_no_request_waits_for_an_event(new_database: NewDatabase, tmp_path: Path, figure: Figure) -> None:
    """The sink accepts events at once; then it accepts connections and does not respond."""
    thaw = threading.Event()
    with running_sink() as sink:
        rule = Forked("rule", tmp_path, DATABASE_URL=new_database(), K_SINK=sink.url)
        with running(rule):

            def create() -> float:
                started = time.perf_counter()
                assert rule.client.post("/api/rule", json={"name": "milk"}).status_code == 201
                return (time.perf_counter() - started) * 1000

            [create() for _ in range(100)]
            usual = [create() for _ in range(400)]
            sink.status = lambda *_: thaw.wait(60) and 204
            frozen = [create() for _ in range(400)]
            thaw.set()
    usual_ms, frozen_ms = statistics.median(usual), statistics.median(frozen)
    assert frozen_ms < 1.5 * usual_ms + 2
    assert max(frozen) < 1000
    figure(
        "No change waits for its event",
        f"a create takes {usual_ms:.1f} ms, and {frozen_ms:.1f} ms while the sink is frozen (median of 400)",
    )


@pytest.mark.alone
@pytest.mark.timeout(300)
def test_a_backlog_is_delivered_soon_and_requests_are_served(
    new_database: NewDatabase, token_key: Path, tmp_path: Path, figure: Figure, request: pytest.FixtureRequest
) -> None:
    port = free_port()
    rule = Forked("rule", tmp_path, DATABASE_URL=new_database(), K_SINK=f"http://127.0.0.1:{port}/events")
    with running(rule):

        def create(_: int) -> str:
            return str(rule.client.post("/api/rule", json={"name": "milk"}).json()["key"])

        with ThreadPoolExecutor(32) as pool:
            keys = list(pool.map(create, range(WAITING // 2)))
        for start in range(0, len(keys), 100):
            body = {"key": keys[start : start + 100]}
            assert rule.client.request("DELETE", "/api/rule", json=body).is_success
        settings = {"DATABASE_URL": new_database(), "TOKEN_KEY_FILE": str(token_key), "PORT": str(port)}
        with running(user := Forked("user", tmp_path, **settings)):
            people = [Callers(f"{rule.url}/api/rule", "GET", "POST"), Callers(f"{user.url}/user/guest", "GET")]
            started = time.monotonic()
            with people[0].at_work(), people[1].at_work():
                wait_until(lambda: oldest(rule) < time.monotonic() - started, "what waited has arrived", SECONDS)
                seconds = time.monotonic() - started
            # At most so many are counted.
            wait_until(lambda: notices(user, "guest") == WAITING, "they are counted")
    for group in people:
        assert {status for _, status in group.statuses} <= {200, 201}
        assert max(group.slowest.values()) < 1
    kind = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}[request.node.callspec.params["new_database"]]
    figure(
        f"10,000 events that waited for `user` arrive within two minutes, and requests are served meanwhile, on {kind}",
        f"{seconds:.0f} s; rule: {people[0].summary()}; user: {people[1].summary()}",
    )
