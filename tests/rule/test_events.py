"""The events of the rule service: what it sends to K_SINK, through HTTP, on SQLite and on PostgreSQL."""

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

import httpx
import pytest

from tests.conftest import ON_SQLITE, NewDatabase
from tests.forking import Forked
from tests.sink import Sink, running_sink
from tests.support import ROOT, Service, as_caller, free_port, running, wait_until

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
CREATED, DONE, REOPENED, DELETED = (f"todolist.item.{what}" for what in ("created", "done", "reopened", "deleted"))


@pytest.fixture
def sink() -> Iterator[Sink]:
    with running_sink() as sink:
        yield sink


@pytest.fixture
def rule(sink: Sink, new_database: NewDatabase, tmp_path: Path) -> Iterator[Service]:
    service = Forked("rule", tmp_path, DATABASE_URL=new_database(), K_SINK=sink.url)
    with running(service):
        yield service


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
    change(rule, "POST", {"name": "the last"}, "bob")
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
    assert len({headers["ce-id"] for headers, _ in sink.got}) == len(sink.got) == 6


def test_creations_that_share_a_transaction_have_an_event_each(rule: Service, sink: Sink) -> None:
    with ThreadPoolExecutor(16) as pool:
        keys = set(pool.map(lambda n: change(rule, "POST", {"name": f"item {n}"}, f"o{n % 4}")["key"], range(100)))
    wait_until(lambda: len(sink.got) == 100, "all events have arrived")
    assert {json.loads(body)["key"] for _, body in sink.got} == keys


def test_of_two_concurrent_completions_one_creates_the_event(rule: Service, sink: Sink) -> None:
    keys = [change(rule, "POST", {"name": "item"})["key"] for _ in range(10)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: change(rule, "PUT", {"key": key, "status": 2}), keys * 4))
    change(rule, "POST", {"name": "the last"})
    wait_until(lambda: Counter(sink.types("ann"))[CREATED] == 11, "the last event has arrived")
    wait_until(lambda: waiting(rule) == 0, "the outbox is empty")
    assert Counter(sink.types("ann"))[DONE] == 10


def test_an_invalid_traceparent_is_omitted(rule: Service, sink: Sink) -> None:
    change(rule, "POST", {"name": "milk"}, traceparent="00-x")
    wait_until(lambda: sink.got, "the event has arrived")
    assert not {"traceparent", "ce-traceparent"} & set(sink.got[0][0])


def test_events_that_the_sink_rejects_are_retried(rule: Service, sink: Sink) -> None:
    statuses = iter([503, 500, 204])
    sink.status = lambda *_: next(statuses)
    change(rule, "POST", {"name": "milk"})
    wait_until(lambda: len(sink.got) == 3, "it was sent three times")
    assert len({headers["ce-id"] for headers, _ in sink.got}) == 1
    wait_until(lambda: waiting(rule) == 0, "the outbox is empty")


def test_a_failing_event_does_not_block_the_others(rule: Service, sink: Sink) -> None:
    """Those of one owner are rejected, those of another one hang."""
    hanging = threading.Event()
    statuses = {"bad": lambda: 400, "ugly": lambda: hanging.wait(30) and 500}
    sink.status = lambda headers, _: statuses.get(headers["ce-subject"], lambda: 204)()
    for owner in ("bad", "ugly", "bad", "ugly", "bad"):
        change(rule, "POST", {"name": "poison"}, owner)
    for number in range(50):
        change(rule, "POST", {"name": f"item {number}"})
    wait_until(lambda: len(sink.types("ann")) == 50, "all others have arrived", 10)
    wait_until(lambda: waiting(rule) == 5, "these still wait")
    sink.status = lambda *_: 204
    hanging.set()
    wait_until(lambda: waiting(rule) == 0, "all are taken in the end")


def test_two_replicas_send_each_event_once(sink: Sink, new_database: NewDatabase, tmp_path: Path) -> None:
    settings = {"DATABASE_URL": new_database(), "K_SINK": sink.url}
    replicas = [Forked("rule", tmp_path, **settings) for _ in range(2)]
    with running(*replicas), ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: change(replicas[n % 2], "POST", {"name": f"item {n}"}), range(200)))
        wait_until(lambda: len(sink.types("ann")) == 200, "all events have arrived")
        wait_until(lambda: waiting(replicas[0]) == 0, "the outbox is empty")
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


def test_undelivered_events_are_sent_on_shutdown(rule: Service, sink: Sink) -> None:
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: change(rule, "POST", {"name": f"item {n}"}), range(100)))
    rule.stop()
    assert len(sink.types("ann")) == 100
    rule.start()


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


@ON_SQLITE
@pytest.mark.parametrize("url", ["broker", "ftp://broker/"])
def test_an_invalid_sink_is_reported_at_the_start(new_database: NewDatabase, tmp_path: Path, url: str) -> None:
    rule = Service("rule", tmp_path, DATABASE_URL=new_database(), K_SINK=url)
    assert rule.process.wait(30) == 1
    assert rule.log.read_text().startswith("K_SINK: ")


@ON_SQLITE
def test_the_service_answers_while_the_sink_hangs(rule: Service, sink: Sink) -> None:
    sink.status = lambda *_: threading.Event().wait(60) or 204
    for number in range(40):
        change(rule, "POST", {"name": f"item {number}"})
    with httpx.Client(timeout=2) as client:
        assert client.get(f"{rule.url}/readyz").status_code == 200
