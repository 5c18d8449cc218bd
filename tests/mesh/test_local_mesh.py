"""The local mesh as `make run` starts it: real processes, a real Envoy, a real Ctrl-C."""

import math
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.local_mesh import DIRECTLY, Mesh, make
from tests.support import ROOT, wait_until


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    mesh = Mesh(tmp_path_factory.mktemp("mesh")).wait_ready()
    yield mesh
    mesh.interrupt()


def test_it_prints_a_line_per_process_then_the_address_and_nothing_else(mesh: Mesh) -> None:
    lines = [line for line in mesh.text().splitlines() if line]
    ready = [line for line in lines if " ready after " in line]
    assert {line.split("  ")[0] for line in ready} == {"rule", "user v1", "user v2", "todolist", "envoy"}
    assert re.match(r"The account admin was created; its password is shown only now: \S{16}$", lines[5])
    assert lines[6].startswith(f"Open http://localhost:{mesh.ports['PORT']} ")
    assert len(lines) == 7, mesh.text()


def test_400_requests_are_split_within_the_binomial_bounds(mesh: Mesh) -> None:
    count = 400
    seen = mesh.versions(count)
    assert set(seen) == {"v1", "v2"}
    # 99.9 % of a binomial distribution lies within 3.29 standard deviations.
    bound = 3.29 * math.sqrt(count * 0.25)
    assert abs(seen["v1"] - count / 2) <= bound, seen


def test_the_split_changes_while_it_runs_and_no_request_fails(mesh: Mesh) -> None:
    ended, statuses = threading.Event(), Counter[int]()

    def ask() -> None:
        with httpx.Client(base_url=mesh.url, trust_env=False) as client:
            while not ended.is_set():
                statuses[client.get("/api/currentUser").status_code] += 1

    asking = threading.Thread(target=ask)
    asking.start()
    for v1, v2 in ((100, 0), (0, 100), (50, 50)):
        told = make(mesh.directory, "split", f"V1={v1}", f"V2={v2}")
        assert told.stdout == f"==> user of `make run` at {mesh.url}: v1 {v1} %, v2 {v2} %\n", told.stderr
        wanted = {version for version, share in (("v1", v1), ("v2", v2)) if share}
        wait_until(lambda wanted=wanted: set(mesh.versions(20)) == wanted, "the split is in force", 5)
    ended.set()
    asking.join()
    assert set(statuses) == {200}


def test_a_split_that_makes_no_sense_is_one_line(mesh: Mesh) -> None:
    told = make(mesh.directory, "split", "V1=90", "V2=20")
    assert told.returncode != 0
    assert told.stderr.startswith("V1 and V2 are percentages that add up to 100")


def test_a_second_run_in_the_same_folder_is_one_line(mesh: Mesh) -> None:
    other = Mesh(mesh.directory)
    assert other.process.wait(20) == 1
    assert mesh.text().splitlines()[-1] == f"`make run` is already running in this folder, at {mesh.url}: stop it first"


def test_the_administrator_can_log_in(mesh: Mesh) -> None:
    password = mesh.text().split("only now: ")[1].split()[0]
    with httpx.Client(base_url=mesh.url, trust_env=False) as client:
        answer = client.post("/api/login/account", json={"userName": "admin", "password": password})
        assert answer.json()["currentAuthority"] == "admin"
        assert client.get("/api/users").status_code == 200


def test_it_listens_on_this_machine_only(mesh: Mesh) -> None:
    listening = {
        connection.laddr.ip
        for process in mesh.processes()
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


def test_the_administration_of_envoy_only_tells(mesh: Mesh) -> None:
    admin = f"http://127.0.0.1:{mesh.ports['ENVOY_ADMIN_PORT']}"
    with httpx.Client(base_url=admin, trust_env=False) as client:
        for path in ("/", "/help", "/clusters", "/config_dump?resource=dynamic_listeners", "/stats?filter=ingress"):
            assert client.get(path).status_code == 200, path
        for path in (
            "/quitquitquit",
            "/logging?level=trace",
            "/healthcheck/fail",
            "/reset_counters",
            "/drain_listeners",
        ):
            assert client.post(path).status_code == 403, path


def test_ctrl_c_stops_everything_and_the_second_start_keeps_the_data_but_not_the_split(tmp_path: Path) -> None:
    mesh = Mesh(tmp_path).wait_ready()
    make(tmp_path, "split", "V1=100", "V2=0")
    httpx.post(f"{mesh.url}/api/rule", json={"name": "kept"}).raise_for_status()
    processes = mesh.processes()
    assert len(processes) >= 5
    assert mesh.interrupt() == 0
    assert not [process for process in processes if process.is_running()]
    for port in mesh.ports.values():
        socket.create_server(("127.0.0.1", port)).close()

    mesh.output.unlink()
    again = Mesh(tmp_path).wait_ready()
    assert "password" not in again.text()
    assert httpx.get(f"{again.url}/api/rule").json()["data"][0]["name"] == "kept"
    assert set(again.versions(30)) == {"v1", "v2"}
    again.interrupt()
    assert make(tmp_path, "split", "V1=100", "V2=0").returncode != 0


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_make_alone_stops_everything(tmp_path: Path, sent: signal.Signals) -> None:
    mesh = Mesh(tmp_path, "make", "run").wait_ready()
    processes = mesh.processes()
    assert len(processes) >= 6
    mesh.process.send_signal(sent)
    mesh.process.wait(15)
    assert not [process for process in processes if process.is_running()]


def test_a_process_that_dies_stops_the_rest_and_shows_its_last_words(tmp_path: Path) -> None:
    mesh = Mesh(tmp_path).wait_ready()
    processes = mesh.processes()
    (rule,) = [process for process in processes if process.cmdline()[-1:] == ["services.rule"]]
    rule.kill()
    assert mesh.process.wait(15) == 1
    assert "rule ended with exit code -9" in mesh.text()
    assert not [process for process in processes if process.is_running()]


def test_a_process_that_cannot_start_shows_why(tmp_path: Path) -> None:
    mesh = Mesh(tmp_path, RULE_DATABASE_URL="mysql://x")
    assert mesh.process.wait(20) == 1
    assert "rule ended with exit code 1" in mesh.text()
    assert "DATABASE_URL: is neither" in mesh.text()


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ended = subprocess.run(
            DIRECTLY,
            cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT), "PORT": str(port)},
            capture_output=True, text=True, timeout=20, check=False,
        )  # fmt: skip
    assert ended.returncode == 1
    assert (ended.stdout + ended.stderr).count("\n") == 1
    assert f"Port {port} is in use" in ended.stdout


def test_traffic_says_where_it_goes_and_tells_the_split(mesh: Mesh) -> None:
    assert make(mesh.directory, ".venv/traffic.done").returncode == 0
    started = time.monotonic()
    ended = make(mesh.directory, "traffic", "RATE=20", "DURATION=5s")
    assert ended.returncode == 0, ended.stderr
    assert time.monotonic() - started < 30
    first_line = ended.stdout.partition("\n")[0]
    assert first_line == f"Sending 20 requests a second to `make run` at {mesh.url}, for 5s"
    output = ended.stdout + ended.stderr
    total, first, second = map(int, re.search(r"Calls to user: (\d+)\s+user/v1 (\d+) .*user/v2 (\d+)", output).groups())
    assert total == first + second
    assert total >= 20
    assert " 0(0.00%)" in output
