"""The commands work the same with any exported variables, inherited limits and folder names."""

import ctypes
import os
import re
import resource
import signal
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.local import ports
from services.user.settings import Settings
from services.user.tokens import Tokens
from tests.local_mesh import DIRECTLY, Mesh, make
from tests.support import ROOT, free_port, wait_until

PR_CAPBSET_DROP, CAP_NET_BIND_SERVICE = 24, 10


def start(directory: Path, *command: str, inherit: Any = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Start the local mesh where it cannot start. command: instead of it; inherit: what its process inherits."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), **{name: str(free_port()) for name in ports.DEFAULTS}, **environment}
    return subprocess.run(
        command or DIRECTLY, cwd=directory, env=env, preexec_fn=inherit,
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip


def test_an_invalid_port_is_one_line() -> None:
    for settings, said in (
        ({"PORT": "http"}, "PORT=http is no port: choose one from 1024 to 65535"),
        ({"PORT": "70000"}, "PORT=70000 is no port: choose one from 1024 to 65535"),
        ({"PORT": "0"}, "PORT=0 is no port: choose one from 1024 to 65535"),
        ({"USER_PORT": "-1"}, "USER_PORT=-1 is no port: choose one from 1024 to 65535"),
        ({"PORT_OFFSET": "x"}, "PORT_OFFSET=x is not a number: choose one such as 100"),
        ({"PORT": "", "PORT_OFFSET": "65000"}, "PORT_OFFSET=65000 makes PORT 68001, which is no port: "),
        ({"PORT": "4000", "RULE_PORT": "4000"}, "PORT and RULE_PORT are both 4000: choose another RULE_PORT"),
    ):
        with pytest.raises(ValueError, match=f"^{re.escape(said)}"):
            ports.chosen(settings)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"SLEEP": "soon"}, "SLEEP=soon is not a number of seconds: choose one such as 30, or 0 for never"),
        ({"TLS": "yes"}, "TLS=yes is neither 1 nor 0: TLS=1 make run serves HTTPS"),
    ],
)
def test_an_invalid_setting_is_one_line(settings: dict[str, str], said: str, tmp_path: Path) -> None:
    ended = start(tmp_path, **settings)
    assert (ended.returncode, ended.stderr) == (1, "")
    assert ended.stdout.startswith(said)
    assert ended.stdout.count("\n") == 1


def test_a_privileged_port_is_not_reported_as_in_use(tmp_path: Path) -> None:
    def may_not() -> None:
        # As an ordinary user.
        ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_NET_BIND_SERVICE)

    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 80:
        pytest.skip("everybody may listen there")
    assert start(tmp_path, inherit=may_not, PORT="80").stdout == (
        "PORT=80 is a port that only root may listen on: choose one above 1023, such as PORT=8080 make run\n"
    )


def test_all_used_ports_are_listed_with_a_free_offset(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        taken = sorted(each.getsockname()[1] for each in (first, second))
        ended = start(tmp_path, PORT=str(taken[1]), RULE_V1_PORT=str(taken[0]))
    what = f"Ports {taken[0]} and {taken[1]} are in use: stop what uses them, or move all ports: "
    assert re.fullmatch(rf"{what}PORT_OFFSET=\d+00 make run\n", ended.stdout)


def test_port_offset_moves_all_ports_that_are_not_set() -> None:
    moved = ports.chosen({"PORT_OFFSET": "100", "RULE_PORT": "5000", "PORT": ""})
    assert moved == {**{name: port + 100 for name, port in ports.DEFAULTS.items()}, "RULE_PORT": 5000}
    assert ports.chosen({}) == ports.DEFAULTS


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_a_port_used_on_ipv6_only_is_in_use(tmp_path: Path) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as other:
        port = other.getsockname()[1]
        ended = start(tmp_path, PORT=str(port))
    assert ended.stdout.startswith(f"Port {port} is in use at [::1], where a browser looks for localhost first: ")


def test_it_runs_with_any_exported_variables_and_inherited_limits(tmp_path: Path) -> None:
    directory = tmp_path / "my 待办 folder's"
    home = tmp_path / "home"
    shadow = tmp_path / "shadow"
    for each in (directory, home, shadow):
        each.mkdir()
    home.chmod(0o500)
    (shadow / "json.py").write_text("raise SystemExit('not the json of Python')")
    profile = tmp_path / "profile"
    profile.write_text("echo noise; cd /; set -o noclobber; exit 3\n")
    hostile = {
        "BASH_ENV": str(profile), "ENV": str(profile), "CDPATH": "/:/tmp", "GREP_OPTIONS": "--invert-match",
        "SHELLOPTS": "noclobber", "POSIXLY_CORRECT": "1", "BASH_FUNC_sed%%": "() { echo not sed; }",
        "PYTHONHOME": "/nowhere", "PYTHONPATH": str(shadow), "PYTHONSTARTUP": "/nowhere", "PYTHONSAFEPATH": "1",
        "PYTHONWARNINGS": "error", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONIOENCODING": "ascii",
        "VIRTUAL_ENV": "/nowhere", "http_proxy": "http://127.0.0.1:9", "all_proxy": "http://127.0.0.1:9",
        "LC_ALL": "xx_YY", "LANG": "tr_TR",
        "TZ": "Asia/Kathmandu", "HOME": str(home), "MAKEFLAGS": "-j4", "before": "x", "VERSION": "12 (bookworm)",
        "INSTANCE": "i-0abc", "LOG_LEVEL": "warning", "K_SINK": "http://127.0.0.1:9",
        "KUBERNETES_SERVICE_HOST": "10.0.0.1",
    }  # fmt: skip

    def inherit() -> None:
        os.umask(0o077)
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        for ignored in (signal.SIGPIPE, signal.SIGCHLD):
            signal.signal(ignored, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])

    # As in a terminal, where make is not run by make.
    env = {**{name: value for name, value in os.environ.items() if name != "MAKELEVEL"}, **hostile}
    mesh = Mesh(directory, "make", "run", prepare=inherit, **hostile).wait_ready()
    result = make(directory, "split", "V1=100", "V2=0", env=env)
    assert result.stdout == f"==> user of `make run` at {mesh.url}: v1 100 %, v2 0 %\n", result.stderr
    status = make(directory, "status", env=env)
    assert "v1 100 %" in status.stdout, status.stderr
    traffic = make(directory, "traffic", "RATE=10", "DURATION=1s", env=env)
    assert "Calls to user" in traffic.stdout, traffic.stderr
    lessons = make(directory, "lessons", env=env)
    assert f"`make run` at {mesh.url}: no lesson is on" in lessons.stdout, lessons.stderr
    with httpx.Client(base_url=mesh.url, trust_env=False) as client:
        client.post("/user/register", json={"userName": "noticed", "password": "a good password"}).raise_for_status()
        answer = client.post("/api/rule", json={"name": "milk"})
        assert f"rule/v1@127.0.0.1:{mesh.ports['RULE_V1_PORT']}" in answer.headers["server-timing"]
        wait_until(lambda: client.get("/api/notices").json(), "its event arrives at user", 10)
    soft, hard = resource.prlimit(mesh.processes()[-1].pid, resource.RLIMIT_NOFILE)
    assert soft > min(64, hard - 1)
    processes = mesh.processes()
    mesh.process.send_signal(signal.SIGTERM)
    mesh.process.wait(15)
    assert not [process for process in processes if process.is_running()]


def test_nohup_outlives_its_terminal_and_the_url_avoids_a_localhost_elsewhere(tmp_path: Path) -> None:
    """With a hosts file that knows ::1 alone."""
    (tmp_path / "sitecustomize.py").write_text(
        "import socket\nreal = socket.getaddrinfo\n"
        "def look(host, *args, **kwargs): return real('::1' if host == 'localhost' else host, *args, **kwargs)\n"
        "socket.getaddrinfo = look\n"
    )
    mesh = Mesh(tmp_path, "nohup", *DIRECTLY, PYTHONPATH=str(tmp_path)).wait_ready()
    mesh.process.send_signal(signal.SIGHUP)
    assert httpx.get(f"{mesh.url}/healthz", trust_env=False).status_code == 200
    assert mesh.interrupt() == 0
    assert f"Open http://127.0.0.1:{mesh.ports['PORT']} " in mesh.text()


# A Docker that records its arguments; a build takes longer than a push, and fails on request.
DOCKER = """#!/bin/sh
case "$*" in
  *" build "*|build*) sleep 0.3; echo build >>"$CALLS"; exit "$BUILD" ;;
  push*) echo push >>"$CALLS" ;;
esac
"""


@pytest.mark.parametrize(("flags", "code"), [("-j4", "0"), ("-j4 -k", "1")])
def test_targets_on_one_line_run_in_that_order(flags: str, code: str, tmp_path: Path) -> None:
    for part in ("Makefile", "deploy", "services"):
        (tmp_path / part).symlink_to(ROOT / part)
    (tmp_path / "bin").mkdir()
    docker = tmp_path / "bin/docker"
    docker.write_text(DOCKER)
    docker.chmod(0o755)
    calls = tmp_path / "calls"
    env = {**os.environ, "MAKEFLAGS": flags, "REGISTRY": "registry.test/x", "CALLS": str(calls), "BUILD": code}
    env["PATH"] = f"{tmp_path}/bin:{env['PATH']}"
    ended = make(tmp_path, "build", "push", env=env)
    expected = ["build"] if code == "1" else ["build"] * 3 + ["push"] * 3
    assert calls.read_text().split() == expected, ended.stderr
    assert (ended.returncode == 0) is (code == "0")


def test_a_file_system_without_hard_links_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As FAT, some network drives and shared folders of virtual machines."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.chdir(tmp_path)
    with ThreadPoolExecutor(3) as threads:
        published = list(threads.map(lambda _: Tokens(Settings()).jwks, range(3)))
    assert published[0] == published[1] == published[2]
    file = tmp_path / "data/token-key.pem"
    assert file.read_text().startswith("-----BEGIN PRIVATE KEY-----")
    assert file.stat().st_mode & 0o777 == 0o600


def test_missing_features_of_the_file_system_are_reported(tmp_path: Path) -> None:
    """As a USB stick with FAT, and a shared folder of a virtual machine."""
    (tmp_path / "sitecustomize.py").write_text(
        "import fcntl, os\ndef refuse(*_, **__): raise OSError(95, 'Operation not supported')\n"
        "os.symlink = fcntl.flock = refuse\n"
    )
    (tmp_path / "data").mkdir()
    (tmp_path / "data/mesh.json").write_text("{}")
    ended = start(tmp_path, PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert (ended.returncode, ended.stderr) == (1, "")
    assert ended.stdout.startswith(
        f"the file system of {tmp_path} has no symbolic links and locks: copy the folder to "
    )
    assert ended.stdout.count("\n") == 1
    assert not list(tmp_path.glob(".doctor-*"))


def test_a_hard_limit_that_is_too_low_is_reported(tmp_path: Path) -> None:
    ended = start(tmp_path, "bash", "-c", f"ulimit -n 100; exec {' '.join(DIRECTLY)}")
    assert ended.returncode == 1
    assert ended.stdout.startswith("this shell limits open files: at most 100: raise the limit (`ulimit -n`")
