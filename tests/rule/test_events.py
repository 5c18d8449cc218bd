"""The events of the rule service: what it sends to K_SINK, through HTTP, on SQLite and on PostgreSQL."""

import itertools
import json
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.conftest import ON_SQLITE, NewDatabase
from tests.forking import Forked
from tests.sink import Sink, running_sink
from tests.support import ROOT, Service, as_caller, free_port, running, wait_until

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
CREATED, DONE, REOPENED, DELETED = (f"todolist.item.{what}" for what in ("created", "done", "reopened", "deleted"))


@pytest.fixture(scope="module")
def shared_sink() -> Iterator[Sink]:
    with running_sink() as sink:
        yield sink


@pytest.fixture(scope="module")
def rule(shared_sink: Sink, new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Forked("rule", tmp_path_factory.mktemp("rule"), DATABASE_URL=new_database(), K_SINK=shared_sink.url)
    with running(service):
        yield service


@pytest.fixture
def sink(shared_sink: Sink, rule: Service) -> Sink:
    """The sink of `rule`, without the events of other tests."""
    shared_sink.status = lambda *_: 204
    wait_until(lambda: waiting(rule) == 0, "the outbox is empty")
    shared_sink.got.clear()
    return shared_sink


def change(rule: Service, method: str, body: dict, owner: str = "ann", **headers: str) -> dict:
    answer = rule.client.request(method, "/api/rule", json=body, headers=as_caller(owner) | headers)
    assert answer.is_success, answer.text
    return answer.json()


def waiting(rule: Service) -> float:
    lines = rule.client.get("/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("outbox_events "))


def test_each_kind_of_change_is_an_event(rule: Service, sink: Sink) -> None:
    key = change(rule, "POST", {"name": "牛奶"}, traceparent=TRACEPARENT)["key"]
    for body in (
        {"status": 2},
        {"status": 2},  # no change
        {"status": 0},  # closed, which is no event
        {"status": 3},
        {"status": 1},  # it was open before
        {"name": "milk"},
        {"status": "2", "name": "oat milk"},
    ):
        change(rule, "PUT", {"key": key, **body})
    change(rule, "DELETE", {"key": [key, "999999"]})
    change(rule, "POST", {"name": "the last"}, "bob", traceparent="00-x")
    wait_until(lambda: len(sink.got) > 5 and waiting(rule) == 0, "all events have arrived")
    # Events of the same time may arrive in any order.
    assert sink.types("ann") == [CREATED, DONE, REOPENED, DONE, DELETED]

    headers, body = next(got for got in sink.got if got[0]["ce-type"] == CREATED and got[0]["ce-subject"] == "ann")
    assert {name: headers[name] for name in ("ce-specversion", "ce-type", "ce-source", "content-type")} == {
        "ce-specversion": "1.0",
        "ce-type": CREATED,
        "ce-source": "/rule",
        "content-type": "application/json",
    }
    assert headers["ce-traceparent"] == headers["traceparent"] == TRACEPARENT
    assert datetime.now(UTC) - datetime.fromisoformat(headers["ce-time"]) < timedelta(minutes=1)
    assert json.loads(body) == {"key": key, "name": "牛奶"}
    # An invalid one is omitted.
    (last,) = [headers for headers, _ in sink.got if headers["ce-subject"] == "bob"]
    assert not {"traceparent", "ce-traceparent"} & set(last)
    assert len({headers["ce-id"] for headers, _ in sink.got}) == len(sink.got) == 6


def test_creations_that_share_a_transaction_have_an_event_each_also_if_the_service_stops(
    rule: Service, sink: Sink
) -> None:
    with ThreadPoolExecutor(16) as pool:
        keys = set(pool.map(lambda n: change(rule, "POST", {"name": f"item {n}"}, f"o{n % 4}")["key"], range(100)))
    rule.stop()
    assert {json.loads(body)["key"] for _, body in sink.got} == keys
    rule.restart()


def test_of_two_concurrent_completions_one_creates_the_event(rule: Service, sink: Sink) -> None:
    keys = [change(rule, "POST", {"name": "item"})["key"] for _ in range(10)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: change(rule, "PUT", {"key": key, "status": 2}), keys * 4))
    change(rule, "POST", {"name": "the last"})
    wait_until(lambda: Counter(sink.types("ann"))[CREATED] == 11, "the last event has arrived")
    wait_until(lambda: waiting(rule) == 0, "the outbox is empty")
    assert Counter(sink.types("ann"))[DONE] == 10


@pytest.mark.parametrize("status", [200, 202, 204])
def test_any_2xx_is_an_acknowledgement_whatever_its_body(status: int, rule: Service, sink: Sink) -> None:
    sink.status = lambda *_: status
    change(rule, "POST", {"name": "milk"})
    wait_until(lambda: sink.got and waiting(rule) == 0, "the outbox is empty")
    assert len(sink.got) == 1


def test_a_failing_event_is_retried_and_does_not_block_the_others(rule: Service, sink: Sink) -> None:
    """Those of one owner are rejected, those of another one hang."""
    hanging = threading.Event()
    rejections = itertools.cycle([400, 503, 500])
    statuses = {"bad": lambda: next(rejections), "ugly": lambda: hanging.wait(30) and 500}
    sink.status = lambda headers, _: statuses.get(headers["ce-subject"], lambda: 204)()
    for owner in ("bad", "ugly", "bad", "ugly", "bad"):
        change(rule, "POST", {"name": "poison"}, owner)
    for number in range(50):
        change(rule, "POST", {"name": f"item {number}"})
    wait_until(lambda: len(sink.types("ann")) == 50, "all others have arrived", 10)
    wait_until(lambda: waiting(rule) == 5, "these still wait")
    wait_until(lambda: [each["ce-subject"] for each, _ in list(sink.got)].count("bad") > 3, "they are retried")
    sink.status = lambda *_: 204
    hanging.set()
    wait_until(lambda: waiting(rule) == 0, "all are taken in the end")
    for owner, count in (("bad", 3), ("ugly", 2)):
        assert len({headers["ce-id"] for headers, _ in sink.got if headers["ce-subject"] == owner}) == count


def test_two_replicas_send_each_event_once(rule: Service, sink: Sink, tmp_path: Path) -> None:
    settings = {name: rule._environment[name] for name in ("DATABASE_URL", "K_SINK")}
    replicas = [rule, Forked("rule", tmp_path, **settings).wait_ready()]
    try:
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda n: change(replicas[n % 2], "POST", {"name": f"item {n}"}), range(200)))
        wait_until(lambda: len(sink.types("ann")) == 200, "all events have arrived")
    finally:
        # Not killed: what it sends just now would be sent again later.
        replicas[1].stop()
        replicas[1].client.close()
    wait_until(lambda: waiting(rule) == 0, "the outbox is empty")
    assert len(sink.got) == 200


def test_an_unavailable_sink_recovers(new_database: NewDatabase, tmp_path: Path) -> None:
    """Changes are made meanwhile; the metrics count them; the events are sent by the next process."""
    port = free_port()
    rule = Forked("rule", tmp_path, DATABASE_URL=new_database(), K_SINK=f"http://127.0.0.1:{port}/")
    with running(rule):
        for number in range(30):
            change(rule, "POST", {"name": f"item {number}"})
        wait_until(lambda: waiting(rule) == 30, "all events wait")
        wait_until(lambda: "outbox_oldest_event_seconds 0.0" not in rule.client.get("/metrics").text, "one is old")
        rule.stop()
        rule.restart()
        with running_sink(port=port) as sink:
            wait_until(lambda: len(sink.types("ann")) == 30, "all have arrived")


@ON_SQLITE
def test_a_failed_relay_restarts(rule: Service, sink: Sink) -> None:
    file = rule._environment["DATABASE_URL"].removeprefix("sqlite:///")
    with closing(sqlite3.connect(file)) as database:
        database.execute("ALTER TABLE outbox RENAME TO elsewhere")
        wait_until(lambda: "starts again" in rule.log.read_text(), "the relay has failed")
        database.execute("ALTER TABLE elsewhere RENAME TO outbox")
    change(rule, "POST", {"name": "milk"})
    wait_until(lambda: sink.got, "the event has arrived")


@ON_SQLITE
def test_without_a_sink_there_are_no_events(new_database: NewDatabase, tmp_path: Path) -> None:
    settings = {"DATABASE_URL": new_database()}
    rule = Forked("rule", tmp_path, **settings)
    with running(rule):
        change(rule, "POST", {"name": "milk"})
    with running_sink() as sink:
        with running(rule := Forked("rule", tmp_path, **settings, K_SINK=sink.url)):
            change(rule, "POST", {"name": "milk"})
            wait_until(lambda: sink.got, "the event has arrived")
            wait_until(lambda: waiting(rule) == 0, "the outbox is empty")
        assert len(sink.got) == 1


def test_a_start_imports_nothing_of_it() -> None:
    """They would delay a cold start."""
    program = "import sys, services.rule.app, services.user.app; print({'httpx', 'cloudevents'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
