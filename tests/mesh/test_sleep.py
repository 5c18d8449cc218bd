"""Scale to zero in `make run`: processes, cold starts, and no lost request."""

import json
import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx
import psutil
import pytest

from lessons.runner import lesson as lessons
from lessons.runner.locate import find_place
from tests.local_mesh import Mesh, make
from tests.support import wait_until

USER, RULE = "services.user", "services.rule"


def awake(mesh: Mesh) -> list[psutil.Process]:
    return mesh.processes(RULE, USER)


def scale_to_zero(mesh: Mesh) -> None:
    """Do at once what the autoscaler does after a while."""
    for state in (mesh.directory / "data/sleep").glob("*.json"):
        os.kill(json.loads(state.read_text())["activator"], signal.SIGUSR1)
    wait_until(lambda: not awake(mesh), "user and rule sleep")


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    mesh = Mesh(tmp_path_factory.mktemp("sleep"), SLEEP="1").wait_ready()
    yield mesh
    mesh.interrupt()


@pytest.fixture
def client(mesh: Mesh) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=mesh.url, timeout=30, trust_env=False) as client:
        yield client


def test_after_a_while_without_calls_services_have_no_process_and_the_next_call_starts_one(
    mesh: Mesh, client: httpx.Client
) -> None:
    before = mesh.processes(RULE)
    # The calls to rule keep it awake meanwhile.
    wait_until(lambda: client.get("/api/rule").is_success and not mesh.processes(USER), "user sleeps")
    assert mesh.processes(RULE) == before
    wait_until(lambda: not awake(mesh), "rule sleeps, too")
    status = make(mesh.directory, "status").stdout
    for name in ("rule", "user-v1", "user-v2"):
        assert re.search(rf"^  {name} +asleep for \d+ s$", status, re.MULTILINE), status
    assert not [line for line in make(mesh.directory, "doctor").stdout.splitlines() if "is in use" in line]
    # Neither command started them.
    assert not awake(mesh)

    answer = httpx.get(f"{mesh.url}/api/rule", timeout=30, trust_env=False)
    assert answer.is_success
    # By this name the page recognizes a cold start.
    assert re.search(
        rf'desc="rule/v1@127\.0\.0\.1:{mesh.ports["RULE_V1_PORT"]}-woken-\d+"', answer.headers["server-timing"]
    )
    assert len(awake(mesh)) == 1


def test_scaling_to_zero_under_load_loses_no_request(mesh: Mesh, client: httpx.Client) -> None:
    """Its activator stops it under load, which the autoscaler would not do."""
    ended, seen = threading.Event(), Counter[object]()

    def write() -> None:
        with httpx.Client(base_url=mesh.url, timeout=30, trust_env=False) as client:
            while not ended.is_set():
                seen[client.post("/api/rule", json={"name": "under load"}).status_code] += 1

    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(write) for _ in range(4)]
        try:
            wait_until(lambda: seen, "it is awake")
            status = make(mesh.directory, "status").stdout
            assert re.search(r"^  rule +awake, process \d+, for \d+ s$", status, re.MULTILINE), status
            for _ in range(2):
                before = seen.total()
                wait_until(lambda before=before: seen.total() > before + 20, "it writes")
                (rule,) = mesh.processes(RULE)
                os.kill(rule.ppid(), signal.SIGUSR1)
                wait_until(lambda rule=rule: not rule.is_running(), "it has stopped")
        finally:
            ended.set()
    for writer in writers:
        writer.result()
    assert set(seen) == {201}
    assert client.get("/api/rule", params={"name": "under load"}).json()["total"] == seen[201]


def test_a_lesson_without_sleep_keeps_all_services_awake(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    scale_to_zero(mesh)
    monkeypatch.chdir(mesh.directory)
    place = find_place()
    place.apply(lessons.find("canary"))
    assert len(awake(mesh)) == 3
    assert "asleep:\n  none" in make(mesh.directory, "status").stdout
    place.reset()
    status = make(mesh.directory, "status").stdout
    assert "(after 1 s without a request" in status
    assert "the lesson that is on: none" in status


def test_a_failing_cold_start_is_one_line_and_recovers(mesh: Mesh) -> None:
    scale_to_zero(mesh)
    database = mesh.directory / "data/rule.db"
    kept = {path: path.read_bytes() for path in database.parent.glob("rule.db*")}
    for path in kept:
        path.unlink()
    database.write_bytes(b"garbage" * 1000)

    statuses = set[int]()

    def ask() -> None:
        while 200 not in statuses:
            statuses.add(httpx.get(f"{mesh.url}/api/rule", timeout=30, trust_env=False).status_code)

    with ThreadPoolExecutor() as pool:
        asking = pool.submit(ask)
        try:
            wait_until(lambda: "after 2 s starts it again" in mesh.text(), "it has failed twice")
        finally:
            database.unlink()
            for path, content in kept.items():
                path.write_bytes(content)
    asking.result()
    # A call waits as long as Envoy lets it: until the service is well, or it gets a 504.
    assert statuses <= {200, 504}
    lines = [line for line in mesh.text().splitlines() if "WARNING activator" in line]
    assert "rule ended with exit code 1. The first connection after 1 s starts it again" in lines[0]
    # Exponential backoff: each pause is twice as long as the one before.
    assert len(lines) <= 5, lines


def test_ctrl_c_stops_everything_while_services_are_asleep_and_waking_up(mesh: Mesh) -> None:
    scale_to_zero(mesh)
    processes = mesh.processes()

    def ask() -> None:
        # Envoy ends before it has the answer.
        with suppress(httpx.TransportError):
            httpx.get(f"{mesh.url}/api/rule", timeout=30, trust_env=False)

    threading.Thread(target=ask).start()
    processes += wait_until(lambda: awake(mesh), "rule is started")
    assert mesh.interrupt() == 0
    assert not [process for process in processes if process.is_running()]
    assert not (mesh.directory / "data/sleep").exists()
