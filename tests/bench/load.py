"""Load on one address, and what it costs the processes behind it."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median

import psutil

from tests.wrk import wrk

CONNECTIONS = 32
SECONDS = 2


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
        result = wrk(
            self.url, connections=self.connections, seconds=seconds, method=self.method, body=self.body,
            headers=self.headers, timeout=10,
        )  # fmt: skip
        if result.errors:
            sys.exit(f"{self.name}: {result.errors} errors of {result.answers}")
        self.requests += result.answers
        self.rates.append(result.rate)
        for key in ("p50", "p99", "max"):
            getattr(self, key).append(getattr(result, key) * 1000)
        for name, process in self.processes.items():
            used = cpu_seconds(process) - before[name]
            self.cpu.setdefault(name, []).append(used / result.answers * 1e6)


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
