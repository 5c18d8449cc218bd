"""How long a process takes to its first answer, and which imports take the time."""

import collections
import http.client
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from tests.support import ROOT, free_port

TIMES = 20
BARE = {
    "bare uvicorn": ("-m", "uvicorn", "tests.bench.hello:app"),
    "bare FastAPI": ("-m", "uvicorn", "tests.bench.bare_fastapi:app"),
}
SERVICES = ("todolist", "user", "rule")


def environment(**settings: str) -> dict[str, str]:
    """Return the environment of a process that reads compiled bytecode, as an image does."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {**inherited, "PYTHONPATH": str(ROOT), **settings}


def first_answer(arguments: tuple[str, ...], settings: Mapping[str, str], directory: Path) -> float:
    """Start a process; return the milliseconds to its first 200."""
    port = free_port()
    extra = ("--port", str(port), "--log-level", "error") if "uvicorn" in arguments else ()
    path = "/" if extra else "/readyz"
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments, *extra], cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=environment(PORT=str(port), **settings),
    )  # fmt: skip
    try:
        while process.poll() is None:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            try:
                connection.request("GET", path)
                if connection.getresponse().status == 200:
                    return (time.perf_counter() - started) * 1000
            except OSError:
                # Nobody listens yet: asking less often would round the figure up.
                time.sleep(0.002)
            finally:
                connection.close()
        sys.exit(f"{' '.join(arguments)} ended with {process.returncode}")
    finally:
        process.kill()
        process.wait()


def measure(settings: Mapping[str, Mapping[str, str]], directory: Path) -> dict[str, list[float]]:
    """Return the milliseconds of each start, all kinds in turn. settings: those of each service."""
    kinds = {**BARE, **{name: ("-m", f"services.{name}") for name in SERVICES}}
    result: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(TIMES):
        for name, arguments in kinds.items():
            result[name].append(first_answer(arguments, settings.get(name, {}), directory))
    return result


def dearest_imports(name: str, count: int = 10) -> list[tuple[str, float]]:
    """Return the packages whose modules take longest to import, each with its milliseconds, median of three."""
    runs = []
    for _ in range(3):
        ended = subprocess.run(
            [sys.executable, "-X", "importtime", "-c", f"import services.chassis.server, services.{name}.app"],
            cwd=ROOT, env=environment(), capture_output=True, text=True, check=True,
        )  # fmt: skip
        packages: collections.Counter[str] = collections.Counter()
        for line in ended.stderr.splitlines():
            own, _, module = line.removeprefix("import time:").split("|")
            if own.strip().isdigit():
                packages[module.strip().partition(".")[0]] += int(own) / 1000
        runs.append(packages)
    totals = {package: median(run[package] for run in runs) for package in runs[0]}
    return sorted(totals.items(), key=lambda item: -item[1])[:count]
