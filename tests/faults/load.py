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


def wrk(url: str, *, connections: int, seconds: int) -> Rate:
    """Send requests as fast as the answers come."""
    if not shutil.which("wrk"):
        pytest.fail("wrk is missing: apt install wrk (macOS: brew install wrk)")
    command = ["wrk", "--threads=1", f"--connections={connections}", f"--duration={seconds}s", "--latency", url]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def number(pattern: str) -> float:
        found = re.search(pattern, text)
        return float(found[1]) if found else 0

    slow = re.search(r"99%\s+([\d.]+)(us|ms|s)", text)
    assert slow, text
    lost = sum(map(int, re.findall(r"(?:connect|read|write|timeout) (\d+)", text)))
    return Rate(
        per_second=number(r"Requests/sec:\s+([\d.]+)"),
        answers=int(number(r"(\d+) requests in")),
        errors=int(number(r"Non-2xx or 3xx responses: (\d+)")) + lost,
        slow=float(slow[1]) * {"us": 1e-6, "ms": 1e-3, "s": 1}[slow[2]],
    )


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
