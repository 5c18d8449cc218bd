"""The load generators: wrk, as fast as it can, and Locust, with the traffic of people."""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support import ROOT, wait_until


@dataclass(frozen=True)
class Rate:
    """Answers in a second, how many of all were errors, and the slowest but one in a hundred (seconds)."""

    per_second: float
    answers: int
    errors: int
    slow: float


@dataclass(frozen=True)
class Overload:
    """Answers 200, 503 with Retry-After, and all others; requests lost; the slowest but one in a hundred (seconds)."""

    good: int
    refused: int
    unclear: int
    lost: int
    slow: float


def wrk(url: str, *, connections: int, seconds: int) -> Rate:
    """Send requests as fast as the answers come."""
    text = _wrk(url, connections, seconds)
    return Rate(
        per_second=_number(r"Requests/sec:\s+([\d.]+)", text),
        answers=int(_number(r"(\d+) requests in", text)),
        errors=int(_number(r"Non-2xx or 3xx responses: (\d+)", text)) + _lost(text),
        slow=_slow(text),
    )


def overload(url: str, *, connections: int, seconds: int, pause: float) -> Overload:
    """Send requests, each connection again so many seconds after its answer."""
    text = _wrk(url, connections, seconds, "--script", str(Path(__file__).with_name("overload.lua")), pause=pause)
    counts = (int(_number(rf"{kind} (\d+)", text)) for kind in ("good", "refused", "unclear"))
    return Overload(*counts, lost=_lost(text), slow=_slow(text))


def _wrk(url: str, connections: int, seconds: int, *options: str, pause: float = 0) -> str:
    if not shutil.which("wrk"):
        pytest.fail("wrk is missing: apt install wrk (macOS: brew install wrk)")
    command = ["wrk", "--threads=1", f"--connections={connections}", f"--duration={seconds}s", "--latency", *options]
    environment = {**os.environ, "PAUSE": str(int(pause * 1000))}
    return subprocess.run([*command, url], capture_output=True, text=True, check=True, env=environment).stdout


def _number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    return float(found[1]) if found else 0


def _lost(text: str) -> int:
    return sum(map(int, re.findall(r"(?:connect|read|write|timeout) (\d+)", text)))


def _slow(text: str) -> float:
    slow = re.search(r"99%\s+([\d.]+)(us|ms|s)", text)
    assert slow, text
    return float(slow[1]) * {"us": 1e-6, "ms": 1e-3, "s": 1}[slow[2]]


@dataclass
class Traffic:
    """What became of the requests of `make traffic`; known when it has ended."""

    requests: int = 0
    failures: list[str] = field(default_factory=list)


@contextmanager
def traffic(directory: Path, url: str, *, people: int, rate: float) -> Iterator[Traffic]:
    """Let so many people use the application, each with so many requests a second."""
    found = Traffic()
    log = directory / "locust.log"
    locustfile = str(ROOT / "deploy/traffic/locustfile.py")
    command = [sys.executable, "-m", "locust", "--locustfile", locustfile, "--headless", "--csv", directory / "locust"]
    environment = {**os.environ, "TRAFFIC_URL": url, "TRAFFIC_RATE": str(rate)}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--users", str(people), "--spawn-rate", str(people)],
            cwd=ROOT, env=environment, stdout=output, stderr=output,
        )  # fmt: skip
    try:
        wait_until(lambda: "All users spawned" in log.read_text() or process.poll() is not None, "traffic")
        assert process.poll() is None, log.read_text()
        yield found
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    finally:
        process.kill()
        process.wait()
    # The last row sums up the others.
    found.requests = int(_rows(directory / "locust_stats.csv")[-1]["Request Count"])
    found.failures = [" ".join(row.values()) for row in _rows(directory / "locust_failures.csv")]


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open() as lines:
        return list(csv.DictReader(lines))
