"""Simulated users, by Locust."""

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support import ROOT, wait_until


@dataclass
class Traffic:
    """What became of the requests of `make traffic`; known when it has ended."""

    requests: int = 0
    failures: list[str] = field(default_factory=list)


@contextmanager
def traffic(directory: Path, url: str, *, people: int, rate: float) -> Iterator[Traffic]:
    """Run this many simulated users, each with this many requests a second."""
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
