"""Load by wrk on one address, and what it costs the processes behind it."""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import psutil

CONNECTIONS = 32
SECONDS = 2
SCRIPT = Path(__file__).parent / "load.lua"


@dataclass
class Scenario:
    """One kind of request, sent again in each round.

    processes: those whose CPU is accounted for, by name.
    """

    name: str
    url: str
    processes: Mapping[str, psutil.Process]
    method: str = "GET"
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    connections: int = CONNECTIONS
    rates: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    max: list[float] = field(default_factory=list)
    cpu: dict[str, list[float]] = field(default_factory=dict)
    requests: int = 0

    @property
    def rate(self) -> float:
        """Requests per second, the median of the rounds."""
        return median(self.rates)

    def run(self, seconds: int = SECONDS) -> None:
        """Send the load for so long and keep what came of it."""
        before = {name: cpu_seconds(process) for name, process in self.processes.items()}
        arguments = [part for header in self.headers.items() for part in header]
        ended = subprocess.run(
            ["wrk", "--threads=1", f"--connections={self.connections}", f"--duration={seconds}s", "--timeout=10s",
             f"--script={SCRIPT}",
             self.url, "--", self.method, self.body, *arguments],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        result = json.loads(ended.stdout.splitlines()[-1])
        if result["errors"]:
            sys.exit(f"{self.name}: {result['errors']} errors of {result['requests']}\n{ended.stdout}")
        self.requests += result["requests"]
        self.rates.append(result["requests"] / result["seconds"])
        for key in ("p50", "p99", "max"):
            getattr(self, key).append(result[key])
        for name, process in self.processes.items():
            used = cpu_seconds(process) - before[name]
            self.cpu.setdefault(name, []).append(used / result["requests"] * 1e6)


def require_wrk() -> None:
    """End with the command that installs it where wrk is missing."""
    if not shutil.which("wrk"):
        sys.exit("wrk is missing: apt install wrk (macOS: brew install wrk)")


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
