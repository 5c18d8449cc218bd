"""The local mesh as `make run` starts it: real processes, a real Envoy, a real Ctrl-C."""

import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import httpx
import psutil
import pytest
from honcho.printer import Message

from deploy.local.mesh import QuietPrinter
from services.rule.outbox import EventType
from tests.local_mesh import DIRECTLY, Mesh, link_parts, make
from tests.support import free_port, wait_until

# Root may write anywhere, unless it has lost that capability. setpriv is a part of util-linux.
WITHOUT_RIGHTS = (
    *([] if os.geteuid() else ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-all"]),
    *DIRECTLY,
)
# A disk of 16 KiB, in a mount namespace of its own.
IN_A_SMALL_DATA = (
    "unshare", "--mount", "--map-root-user", "bash", "-c",
    'mkdir data && mount -t tmpfs -o size=16k none data && "$@"; code=$?; echo left: $(find data); exit $code',
    "bash", *DIRECTLY,
)  # fmt: skip


@pytest.fixture
def no_cluster(tmp_path: Path) -> dict[str, str]:
    """The environment with a kubectl that no cluster answers."""
    kubectl = tmp_path / "bin/kubectl"
    kubectl.parent.mkdir()
    kubectl.write_text("#!/bin/sh\nexit 1\n")
    kubectl.chmod(0o755)
    return {**os.environ, "PATH": f"{kubectl.parent}{os.pathsep}{os.environ['PATH']}"}


def test_it_prints_a_line_per_process_the_password_of_the_administrator_and_the_address(mesh: Mesh) -> None:
    lines = [line for line in mesh.text().splitlines() if line]
    ready = [line for line in lines if " ready after " in line]
    assert {line.split("  ")[0] for line in ready} == {"rule", "user v1", "user v2", "todolist", "envoy"}
    assert re.match(r"The account admin was created; its password is shown only now: \S{16}$", lines[5])
    assert lines[6].startswith(f"Open http://localhost:{mesh.ports['PORT']} ")
    assert len(lines) == 7, mesh.text()
    password = lines[5].split()[-1]
    with httpx.Client(base_url=mesh.url, trust_env=False) as client:
        answer = client.post("/api/login/account", json={"userName": "admin", "password": password})
        assert answer.json()["currentAuthority"] == "admin"
        assert client.get("/api/users").status_code == 200


def test_a_second_run_in_the_same_folder_is_one_line(mesh: Mesh) -> None:
    other = Mesh(mesh.directory)
    assert other.process.wait(60) == 1
    assert mesh.text().splitlines()[-1] == (
        f"`make run` is already running in this folder, at {mesh.url}: "
        f"stop it first (Ctrl-C there, or kill {mesh.process.pid})"
    )


def test_the_trigger_matches_the_types_of_user(mesh: Mesh) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{mesh.ports['EVENTS_PORT']}", trust_env=False) as broker:
        for kind in ("com.example.other", "todolist.item.archived"):
            assert broker.post("/", headers={"ce-type": kind}).status_code == 202
        for kind in EventType:
            # It arrives at user, which misses the rest.
            assert broker.post("/", headers={"ce-type": kind}).status_code == 400
        assert broker.post("/").status_code == 404


def test_it_listens_on_this_machine_only(mesh: Mesh) -> None:
    listening = {
        connection.laddr.ip
        for process in mesh.processes()
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


def test_the_admin_page_of_envoy_is_read_only(mesh: Mesh) -> None:
    admin = f"http://127.0.0.1:{mesh.ports['ENVOY_ADMIN_PORT']}"
    with httpx.Client(base_url=admin, trust_env=False) as client:
        for path in ("/", "/help", "/clusters", "/config_dump?resource=dynamic_listeners", "/stats?filter=ingress"):
            assert client.get(path).status_code == 200, path
        for path in ("/quitquitquit", "/logging?level=trace", "/drain_listeners"):
            assert client.post(path).status_code == 403, path


def test_a_process_that_ends_stops_the_rest_and_its_log_is_shown(tmp_path: Path) -> None:
    mesh = Mesh(tmp_path, RULE_DATABASE_URL="mysql://x")
    assert mesh.process.wait(60) == 1
    assert "rule ended with exit code 1" in mesh.text()
    assert "DATABASE_URL: is neither" in mesh.text()
    assert_ports_are_free(mesh)


def test_traffic_prints_its_target_and_the_split(mesh: Mesh) -> None:
    ended = make(mesh.directory, "traffic", "RATE=20", "DURATION=3s")
    assert ended.returncode == 0, ended.stderr
    # What matters is first, and all of it fits into 80 columns.
    target, calls, *lines = ended.stdout.splitlines()
    assert target == f"Sending 20 requests a second to `make run` at {mesh.url}, for 3s"
    total, first, second = map(int, re.match(r"Calls to user: (\d+)\s+v1 (\d+) .*v2 (\d+)", calls).groups())
    assert total == first + second >= 5
    (row,) = (line.split() for line in lines if line.startswith("GET    /api/currentUser"))
    assert int(row[2]) >= 5
    assert row[3] == "0"
    assert max(map(len, (target, calls, *lines))) < 80


def test_a_wrong_setting_is_one_line_and_is_not_executed(mesh: Mesh) -> None:
    settings = (
        *(("traffic", f"RATE={rate}") for rate in ("0", "1e9", "5;touch executed")),
        *(("traffic", f"DURATION={duration}") for duration in ("2 s", "1s && touch executed")),
        ("lesson", 'N=";touch executed;"'),
        ("split", 'V1=";touch executed;"'),
        ("split", "V1=90", "V2=20"),
    )
    for target, *setting in settings:
        result = make(mesh.directory, target, *setting)
        line, of_make = result.stderr.splitlines()
        assert re.match(r"make(\[\d+\])?: \*\*\*", of_make)
        expected = {"traffic": f"{setting[0].replace('=', ' is ', 1)}: it is a", "split": "V1 and V2 are percentages"}
        assert line.startswith(expected.get(target, "There is no lesson"))
        assert result.stdout == ""
    assert not (mesh.directory / "executed").exists()


def test_traffic_says_what_failed_and_that_the_rate_was_not_reached(mesh: Mesh) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    result = make(mesh.directory, "traffic-local", f"TRAFFIC_URL={url}", "RATE=9000", "DURATION=1s")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) < 80
    text = " ".join(result.stdout.split())
    # The cause is at the end of what Python says.
    assert re.search(r"\d+ failed: GET /api/rule: .*Connection refused", text), result.stdout
    assert re.search(r"Only [\d.]+ of 9000 requests a second were reached: each of 4 users waits", text)


@pytest.mark.parametrize(
    ("place", "owner", "said"),
    [
        (".", None, r"it is yours, but may not be written: chmod -R u\+rwX data"),
        ("envoy", 65534, r"it is not yours: sudo chown -R .* data"),
    ],
)
def test_data_that_cannot_be_written_is_one_sentence(tmp_path: Path, place: str, owner: int | None, said: str) -> None:
    folder = tmp_path / "data" / place
    folder.mkdir(parents=True)
    folder.chmod(0o555)
    if owner:
        if os.geteuid():
            pytest.skip("only root may give a folder away")
        os.chown(folder, owner, owner)
    mesh = Mesh(tmp_path, *WITHOUT_RIGHTS)
    try:
        assert mesh.process.wait(60) == 1
        assert re.fullmatch(rf"data/\S+ cannot be used: {said}\n", mesh.text()), mesh.text()
    finally:
        folder.chmod(0o755)


def test_a_file_named_data_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    mesh = Mesh(tmp_path)
    assert mesh.process.wait(60) == 1
    assert mesh.text() == "data cannot be used: there is a file named data where a folder should be. Move it away\n"


def test_a_full_disk_is_one_sentence_and_leaves_no_incomplete_files(tmp_path: Path) -> None:
    mesh = Mesh(tmp_path, *IN_A_SMALL_DATA)
    assert mesh.process.wait(60) == 1
    text = mesh.text()
    assert re.match(r"data\S* cannot be used: the disk is full\. Free some space, and start again\n", text), text
    assert "Traceback" not in text
    assert ".new" not in text.partition("left: ")[2]


def test_ctrl_c_at_any_moment_of_the_start_stops_everything_without_a_traceback(tmp_path: Path) -> None:
    moments: tuple[Callable[[Mesh], object], ...] = (
        lambda mesh: mesh.processes(),
        lambda mesh: mesh.processes("deploy.local"),
        lambda mesh: (mesh.directory / "data/envoy").exists(),
        lambda mesh: (mesh.directory / "data/user.db").exists(),
    )
    for number, moment in enumerate(moments):
        directory = tmp_path / str(number)
        directory.mkdir()
        # A session of its own: Ctrl-C in a terminal reaches all processes of the foreground.
        mesh = Mesh(directory, "make", "run", start_new_session=True)
        wait_until(lambda mesh=mesh, moment=moment: moment(mesh), f"moment {number}")
        children = mesh.processes()
        os.killpg(mesh.process.pid, signal.SIGINT)
        mesh.process.wait(60)
        assert "Traceback" not in mesh.text(), mesh.text()
        wait_until(lambda children=children: not any(c.is_running() for c in children), "all have ended")
    # The account exists since the last moment, and its password is not stored.
    assert "its password is " in mesh.text()


def test_whoever_has_read_enough_ends_it_quietly(tmp_path: Path, mesh: Mesh) -> None:
    run = Mesh(tmp_path, "bash", "-c", "make run | head -2")
    assert run.process.wait(60) == 0
    assert run.text().count("\n") == 2, run.text()
    traffic = ["bash", "-c", "make traffic DURATION=1s | head -1"]
    ended = subprocess.run(traffic, cwd=mesh.directory, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.stdout.count("\n"), ended.stderr) == (1, "")


def test_the_terminal_shows_once_what_is_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    printer = QuietPrinter(verbose=False)
    for second in range(100):
        line = f"23:11:{second:02} WARNING upstream: rule cannot be reached\n".encode()
        printer.write(Message("line", line, datetime.now(), "todolist", None))
    assert capsys.readouterr().out.count("cannot be reached") == 1


def test_the_error_of_envoy_is_shown_without_its_backtrace(capsys: pytest.CaptureFixture[str]) -> None:
    printer = QuietPrinter(verbose=False)
    for said in ("assert] assert failure: Consider increasing max_user_instances", "backtrace] #0: [0x7f9]"):
        line = f"[2026-11-28 00:19:26.250][28591][critical][{said}\n".encode()
        printer.write(Message("line", line, datetime.now(), "envoy", None))
    printer.write(Message("line", "envoy stopped (rc=-6)\n", datetime.now(), "system", None))
    shown = capsys.readouterr().out
    assert shown.count("max_user_instances") == 2
    assert "0x7f9" not in shown


def test_without_a_run_or_cluster_both_are_explained(tmp_path: Path, no_cluster: dict[str, str]) -> None:
    """Where kubectl is missing: tests/riddles."""
    link_parts(tmp_path)
    explained = "`make run` is not on in this folder: start it in another terminal.*\nno cluster answers kubectl"
    for target in (("status",), ("split", "V1=90", "V2=10"), ("traffic",)):
        result = make(tmp_path, *target, env=no_cluster)
        assert result.returncode != 0
        assert re.match(explained, result.stderr), result.stderr


def test_commands_for_a_cluster_do_not_work_with_make_run(mesh: Mesh, no_cluster: dict[str, str]) -> None:
    for target in ("url", "kiali", "traffic-stop", "logs"):
        result = make(mesh.directory, target, env=no_cluster)
        assert result.stderr.startswith(
            f"This works in a cluster only, and not with `make run`, which is on at {mesh.url}.\n"
        ), (target, result.stderr)


def test_clean_keeps_the_data_unless_confirmed(tmp_path: Path) -> None:
    link_parts(tmp_path)
    for folder in ("data", ".build", ".mypy_cache"):
        (tmp_path / folder).mkdir()
    (tmp_path / "data/user.db").touch()
    result = make(tmp_path, "clean")
    assert result.returncode == 0, result.stderr
    assert {path.name for path in tmp_path.iterdir()} & {".venv", "data", ".build", ".mypy_cache"} == {"data"}
    assert "data/ stays, with all accounts and todo items; `make clean VOLUMES=delete` removes it" in result.stdout
    assert make(tmp_path, "clean", "VOLUMES=delete").returncode == 0
    assert not (tmp_path / "data").exists()


def test_clean_removes_nothing_while_it_runs(mesh: Mesh) -> None:
    result = make(mesh.directory, "clean", "VOLUMES=delete")
    assert result.stderr.startswith(f"`make run` is on at {mesh.url}, and needs what this removes: stop it first")
    assert (mesh.directory / "data/user.db").exists()


def test_each_end_stops_everything_and_the_next_start_keeps_the_data_but_no_change(mesh: Mesh) -> None:
    """Ctrl-C while a lesson is on, a kill, and a SIGINT to make: the last test, as it ends the run of the others."""

    def all_have_ended() -> bool:
        return not any(process.is_running() for process in processes)

    before, seen = mesh.configuration(), len(mesh.text())
    httpx.post(f"{mesh.url}/api/rule", json={"name": "kept"}).raise_for_status()
    command = ["make", "lesson", "N=7"]
    with subprocess.Popen(
        command, cwd=mesh.directory, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as lesson:
        wait_until(lambda: "makes calls fail" in mesh.text()[seen:], "the lesson is on")
        processes = mesh.processes()
        assert len(processes) >= 5
        assert mesh.interrupt() == 0
        said = lesson.communicate(timeout=60)[1].splitlines()
    assert all_have_ended()
    assert_ports_are_free(mesh)
    assert said[0] == "`make run` has ended, and the lesson with it: start both again"
    assert len(said) == 2  # The other is make's own.
    assert mesh.configuration() == before
    # The failures that the lesson made are one line, which names it.
    lines = [line for line in mesh.text()[seen:].splitlines() if line]
    assert "Lesson 07-outlier makes calls fail" in lines[0]
    assert lines[1:] == ["Lesson 07-outlier was still on, and ends with this run."]

    mesh.output.unlink()
    killed = Mesh(mesh.directory).wait_ready()
    assert "password" not in killed.text()
    assert httpx.get(f"{killed.url}/api/rule").json()["data"][0]["name"] == "kept"
    assert make(mesh.directory, "split", "V1=100", "V2=0").returncode == 0
    # What is killed stops nothing; its processes end by themselves, and the next start waits for that.
    processes = killed.processes()
    killed.process.kill()
    killed.process.wait()
    killed.output.unlink()
    ports = {name: str(port) for name, port in killed.ports.items()}
    last = Mesh(mesh.directory, "make", "run", **ports).wait_ready()
    wait_until(all_have_ended, "those of the killed run have ended")
    # At the same address.
    assert set(killed.versions(30)) == {"v1", "v2"}

    # make does not forward it.
    processes = last.processes()
    last.interrupt()
    assert all_have_ended()


def assert_ports_are_free(mesh: Mesh) -> None:
    for port in mesh.ports.values():
        socket.create_server(("127.0.0.1", port)).close()
