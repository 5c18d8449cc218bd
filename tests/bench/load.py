"""Load on one URL, and its cost for the processes."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median

import psutil

from tests.wrk import Result, wrk

CONNECTIONS = 32


@dataclass
class Load:
    """One kind of request, sent again in each round.

    processes: those that take part, by name; prepare: what to do before each round; cpu: microseconds per request in
    each round, by process.
    """

    url: str
    processes: Mapping[str, psutil.Process] = field(default_factory=dict)
    prepare: Callable[[], None] = lambda: None
    method: str = "GET"
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    results: list[Result] = field(default_factory=list)
    cpu: dict[str, list[float]] = field(default_factory=dict)

    def run(self, seconds: int) -> None:
        """Send the load for this time, and record the results."""
        self.prepare()
        before = {name: cpu_seconds(process) for name, process in self.processes.items()}
        result = wrk(
            self.url, connections=CONNECTIONS, seconds=seconds, method=self.method, body=self.body,
            headers=self.headers, timeout=10,
        )  # fmt: skip
        if result.errors:
            sys.exit(f"{self.method} {self.url}: {result.errors} errors, {result.answers} answers")
        self.results.append(result)
        for name, process in self.processes.items():
            used = cpu_seconds(process) - before[name]
            self.cpu.setdefault(name, []).append(used / result.answers * 1e6)

    def share(self, other: "Load") -> float:
        """Return the rate as a share of the other's: the median of the rounds, each compared within itself."""
        return median(mine.rate / its.rate for mine, its in zip(self.results, other.results, strict=True))

    def median(self, figure: Callable[[Result], float]) -> float:
        """Return the median of a figure of the rounds."""
        return median(figure(result) for result in self.results)


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
