"""Scale to zero in `make run`: processes, cold starts, and no lost request."""

import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

from tests.local_mesh import Mesh, make
from tests.support import wait_until


def awake(mesh: Mesh) -> list[psutil.Process]:
    """Return the processes of user and rule."""
    return mesh.processes("services.rule", "services.user")


def wait_asleep(mesh: Mesh) -> None:
    wait_until(lambda: not awake(mesh), "user and rule sleep", 40)


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    mesh = Mesh(tmp_path_factory.mktemp("sleep"), SLEEP="1").wait_ready()
    yield mesh
    mesh.interrupt()


@pytest.fixture
def client(mesh: Mesh) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=mesh.url, timeout=30, trust_env=False) as client:
        yield client


def test_after_a_while_user_and_rule_have_no_process_and_the_next_call_starts_one(
    mesh: Mesh, client: httpx.Client
) -> None:
    wait_asleep(mesh)
    status = make(mesh.directory, "status").stdout
    for name in ("rule", "user-v1", "user-v2"):
        assert re.search(rf"^  {name} +asleep for \d+ s$", status, re.MULTILINE), status
    # `make status` did not start them.
    assert not awake(mesh)
    assert not [line for line in make(mesh.directory, "doctor").stdout.splitlines() if "is in use" in line]
    assert not awake(mesh)

    answer = client.get("/api/rule")
    assert answer.is_success
    # By this name the page recognizes a cold start.
    assert re.search(
        rf'desc="rule/v1@127\.0\.0\.1:{mesh.ports["RULE_V1_PORT"]}-woken-\d+"', answer.headers["server-timing"]
    )
    assert len(awake(mesh)) == 1
    assert re.search(r"^  rule +awake, process \d+, for \d+ s$", make(mesh.directory, "status").stdout, re.MULTILINE)


def test_concurrent_requests_to_a_sleeping_service_are_all_answered(mesh: Mesh) -> None:
    wait_asleep(mesh)

    def write(number: int) -> int:
        return httpx.post(
            f"{mesh.url}/api/rule", json={"name": f"at once {number}"}, timeout=30, trust_env=False
        ).status_code

    with ThreadPoolExecutor(50) as pool:
        assert Counter(pool.map(write, range(50))) == {201: 50}
    found = httpx.get(f"{mesh.url}/api/rule", params={"name": "at once"}, timeout=30, trust_env=False).json()
    assert found["total"] == 50


def test_scaling_to_zero_under_load_loses_no_request(mesh: Mesh) -> None:
    """Its activator stops it under load, which the autoscaler would not do."""
    ended, seen = threading.Event(), Counter[object]()

    def write() -> None:
        with httpx.Client(base_url=mesh.url, timeout=30, trust_env=False) as client:
            while not ended.is_set():
                seen[client.post("/api/rule", json={"name": "under load"}).status_code] += 1

    writers = [threading.Thread(target=write) for _ in range(8)]
    for writer in writers:
        writer.start()
    for _ in range(3):
        before = seen.total()
        wait_until(lambda before=before: seen.total() > before + 100, "it writes")
        (rule,) = mesh.processes("services.rule")
        os.kill(rule.ppid(), signal.SIGUSR1)
        wait_until(lambda rule=rule: not rule.is_running(), "it has stopped")
    ended.set()
    for writer in writers:
        writer.join()
    assert set(seen) == {201}
    found = httpx.get(f"{mesh.url}/api/rule", params={"name": "under load"}, timeout=30, trust_env=False).json()
    assert found["total"] == seen[201]


def test_calls_keep_a_service_awake(mesh: Mesh, client: httpx.Client) -> None:
    seen = set()
    for _ in range(7):
        seen.add(client.get("/api/rule").headers["server-timing"].partition("@")[2])
        time.sleep(0.5)  # Less than the time after which it sleeps.
    assert len(seen) == 1


def test_a_lesson_keeps_all_services_awake(mesh: Mesh) -> None:
    wait_asleep(mesh)
    try:
        assert make(mesh.directory, "lesson", "N=2").returncode == 0
        assert len(awake(mesh)) == 3
        assert "asleep:\n  none" in make(mesh.directory, "status").stdout
    finally:
        make(mesh.directory, "lesson-reset")
    assert "(after 1 s without a request" in make(mesh.directory, "status").stdout


def test_a_failing_cold_start_is_one_line_and_recovers(tmp_path: Path) -> None:
    mesh = Mesh(tmp_path, SLEEP="1").wait_ready()
    wait_asleep(mesh)
    database = tmp_path / "data/rule.db"
    kept = {path: path.read_bytes() for path in database.parent.glob("rule.db*")}
    for path in kept:
        path.unlink()
    database.write_bytes(b"garbage" * 1000)
    statuses = Counter[int]()

    def ask() -> None:
        statuses[httpx.get(f"{mesh.url}/api/rule", timeout=30, trust_env=False).status_code] += 1

    asking = threading.Thread(target=ask)
    asking.start()
    wait_until(lambda: "started again in 2 s" in mesh.text(), "it has failed twice", 20)
    database.unlink()
    for path, content in kept.items():
        path.write_bytes(content)
    asking.join()
    # The call waited as long as Envoy lets it: until the service was well, or it got a 504.
    assert set(statuses) <= {200, 504}
    wait_until(
        lambda: httpx.get(f"{mesh.url}/api/rule", timeout=30, trust_env=False).is_success, "it has recovered", 40
    )
    lines = [line for line in mesh.text().splitlines() if "WARNING activator" in line]
    assert "rule ended with exit code 1. Its callers wait, and it is started again in 1 s" in lines[0]
    # Exponential backoff: each pause is twice as long as the one before.
    assert len(lines) <= 4, lines
    assert mesh.interrupt() == 0


@pytest.mark.parametrize("state", ["asleep", "waking up"])
def test_ctrl_c_stops_everything_while_services_sleep(state: str, tmp_path: Path) -> None:
    mesh = Mesh(tmp_path, SLEEP="1").wait_ready()
    wait_asleep(mesh)
    processes = mesh.processes()
    if state == "waking up":

        def ask() -> None:
            # Envoy ends before it has the answer.
            with suppress(httpx.TransportError):
                httpx.get(f"{mesh.url}/api/rule", timeout=30, trust_env=False)

        threading.Thread(target=ask).start()
        wait_until(lambda: awake(mesh), "it is started")
        processes += awake(mesh)
    assert mesh.interrupt() == 0
    assert not [process for process in processes if process.is_running()]
    assert not (tmp_path / "data/sleep").exists()
