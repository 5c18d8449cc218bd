"""Socket activation: a service uses the socket of a service manager, and stops without losing a request."""

import os
import re
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests.forking import Forked
from tests.support import ROOT, Service, running, wait_until

# exec keeps the shell's process id. systemd does the same: fork, set LISTEN_PID, exec.
START = ["/bin/sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh"]


class Activated(Service):
    """A service started with socket activation, as by systemd."""

    def __init__(self, name: str, directory: Path, **environment: str) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self.address = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        super().__init__(name, directory, LISTEN_FDS="1", **environment)
        self.client.base_url = self.address

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return start(
                self.listener, self.name, self._directory, self._environment,
                stdout=log, stderr=log,
            )  # fmt: skip


def start(handed_over: socket.socket, name: str, directory: Path, environment: dict[str, str], **files: object):
    """Start a service with this socket as its file descriptor 3."""
    # Nothing else may have that number here: a copy with a high number becomes 3 in the child.
    return subprocess.Popen(
        [*START, sys.executable, "-m", f"services.{name}"],
        env=environment, cwd=directory, close_fds=False,
        preexec_fn=lambda: os.dup2(handed_over.fileno(), 3),  # noqa: PLW1509 - nothing else runs there
        **files,
    )  # fmt: skip


def test_requests_wait_while_no_process_runs_and_none_is_lost_when_one_stops(tmp_path: Path) -> None:
    rule = Activated("rule", tmp_path)
    ended, seen = threading.Event(), Counter[object]()

    def write() -> None:
        with httpx.Client(base_url=rule.address, timeout=30, trust_env=False) as client:
            while not ended.is_set():
                try:
                    seen[client.post("/api/rule", json={"name": "written"}).status_code] += 1
                except httpx.TransportError as error:
                    seen[repr(error)] += 1

    with running(rule):
        writers = [threading.Thread(target=write) for _ in range(4)]
        for writer in writers:
            writer.start()
        wait_until(lambda: seen.total() > 20, "it writes")
        assert rule.stop() == 0
        before = seen.total()
        rule.start()
        wait_until(lambda: seen.total() > before + 20, "it writes again")
        ended.set()
        for writer in writers:
            writer.join()
        assert set(seen) == {201}
        # Nothing was written twice, either.
        assert rule.client.get("/api/rule", params={"name": "written"}).json()["total"] == seen[201]


def test_the_first_requests_wait_for_the_schema(tmp_path: Path) -> None:
    file = tmp_path / "rule.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as other, ThreadPoolExecutor() as threads:
        other.execute("PRAGMA journal_mode=WAL")
        other.execute("BEGIN IMMEDIATE")
        rule = Activated("rule", tmp_path, DATABASE_URL=f"sqlite:///{file}", DATABASE_TIMEOUT="3")
        try:
            written = [threads.submit(rule.client.post, "/api/rule", json={"name": "first"}) for _ in range(2)]
            assert rule.client.get("/readyz").status_code == 503
            other.execute("ROLLBACK")
            assert [answer.result().status_code for answer in written] == [201, 201]
        finally:
            rule.kill()


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"LISTEN_FDS": "2"}, "LISTEN_FDS: expected one socket, got 2\n"),
        ({"LISTEN_FDS": "1"}, r"LISTEN_FDS: the file descriptor is no listening socket: .+\n"),
    ],
    ids=["several", "a connection"],
)
def test_an_invalid_value_is_one_line(environment: dict[str, str], said: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as other:
        ended = start(other, "rule", tmp_path, {"PYTHONPATH": str(ROOT), **environment}, stderr=subprocess.PIPE)
        logged = ended.communicate(timeout=20)[1].decode()
    assert ended.returncode == 1
    assert re.fullmatch(said, logged)
    # Variables of another process are ignored.
    with running(another := Forked("rule", tmp_path, LISTEN_PID="1", **environment)):
        assert another.client.get("/healthz").is_success


def test_the_documented_units_start_a_service_and_metrics_have_the_phases_of_the_start(
    tmp_path: Path,
) -> None:
    units = [
        re.findall(r"```ini\n(.*?)```", path.read_text(), re.DOTALL) for path in sorted(ROOT.glob("docs/systemd*.md"))
    ]
    (address, service), other = ([re.sub(r"^#.*\n", "", unit, flags=re.MULTILINE) for unit in pair] for pair in units)
    assert [address, service] == other
    assert "ListenStream=" in address
    (name,) = re.findall(r"^ExecStart=\S+/\.venv/bin/python -m services\.(\w+)$", service, re.MULTILINE)
    settings = dict(re.findall(r"^Environment=(\w+)=(.+)$", service.replace("%S", str(tmp_path)), re.MULTILINE))
    (tmp_path / re.findall(r"^StateDirectory=(.+)$", service, re.MULTILINE)[0]).mkdir()
    before = time.time()
    with running(activated := Activated(name, tmp_path, **settings)):
        assert activated.client.get("/api/rule").is_success
        # It replaces HOST and PORT.
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{activated.url}/healthz", trust_env=False)
        metrics = activated.client.get("/metrics").text
    points = re.findall(r'^start_reached_timestamp_seconds{point="(\w+)"} (\S+)$', metrics, re.MULTILINE)
    in_order = sorted(points, key=lambda point: float(point[1]))
    assert [point for point, _ in in_order] == ["python", "imports", "application"]
    assert all(before < float(at) < time.time() for _, at in points)
