"""Cold starts in `make run`: user and rule asleep, then a call through all proxies, and its parts."""

import os
import signal
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir
from pathlib import Path
from statistics import median

import httpx

from deploy.local import here, sleepers
from lessons.runner.laptop import Laptop
from tests.local_mesh import Mesh
from tests.support import wait_until

ROUNDS = 6
# The points that lesson 13 shows, too.
PARTS = {
    "process": "the process is started",
    "python": "Python starts",
    "imports": "imports",
    "application": "the application",
    "answer": "the first answer",
}
CALLS = {
    "profile": ("/api/currentUser",),
    "list": ("/api/rule",),
    "page, both at once": ("/api/currentUser", "/api/rule"),
}
# Milliseconds by the calls and the part.
Figures = dict[str, dict[str, float]]


def measure(directory: Path) -> Figures:
    """Scale to zero and trigger cold starts repeatedly; return the medians of the phases, and of the whole."""
    directory.mkdir()
    mesh = Mesh(directory).wait_ready()
    seen: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    try:
        with chdir(directory), httpx.Client(base_url=mesh.url, timeout=30, trust_env=False) as client:
            for _ in range(ROUNDS):
                for calls, paths in CALLS.items():
                    sleep()
                    for part, milliseconds in wake_up(client, paths).items():
                        seen[calls][part].append(milliseconds)
    finally:
        mesh.interrupt()
    return {calls: {part: median(all_of_it) for part, all_of_it in parts.items()} for calls, parts in seen.items()}


def sleep() -> None:
    """Scale all to zero now, whatever Envoy's counters."""
    for sleeper in sleepers.read().values():
        os.kill(sleeper.activator, signal.SIGUSR1)
    wait_until(lambda: not any(sleeper.process for sleeper in sleepers.read().values()), "all sleep")


def wake_up(client: httpx.Client, paths: tuple[str, ...]) -> dict[str, float]:
    """Make calls at once, and return the milliseconds of each part of the one that was answered last."""

    def ask(path: str) -> tuple[float, str, str]:
        answer = client.get(path).raise_for_status()
        service, version = answer.headers["server-timing"].partition('desc="')[2].partition("@")[0].split("/")
        return time.time(), service, version

    asked = time.time()
    with ThreadPoolExecutor() as pool:
        answered, service, version = max(pool.map(ask, paths))
    reached = {**Laptop(here.current()).start_of(service, version), "answer": answered}
    points = [asked, *(reached[point] for point in PARTS)]
    parts = {point: (points[index + 1] - points[index]) * 1000 for index, point in enumerate(PARTS)}
    return {**parts, "whole": (answered - asked) * 1000}
