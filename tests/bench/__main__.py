"""`make bench`: measure the services beside a bare uvicorn, all in one run, and write docs/performance.md.

`python -m tests.bench --against ../other` measures another checkout in the same run instead, and prints both;
`python -m tests.bench --cold` measures and prints the cold starts of `make run` only.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.bench import cold, report
from tests.bench.system import References, System
from tests.conftest import running_postgres
from tests.support import ROOT
from tests.wrk import require_wrk

# Many rounds: what else the machine does changes all the time.
ROUNDS, QUICK_ROUNDS = 20, 4
SECONDS = 2


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="compare with the services of this checkout")
    parser.add_argument("--rounds", type=int, help=f"{ROUNDS}, or {QUICK_ROUNDS} with --against")
    parser.add_argument("--cold", action="store_true", help="measure and print the cold starts of `make run` only")
    options = parser.parse_args()
    if options.cold:
        with tempfile.TemporaryDirectory(prefix="todolist-bench-") as name:
            print(report.cold_section(cold.measure(Path(name) / "cold")))
        return
    require_wrk()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="todolist-bench-") as name, ExitStack() as stack:
        directory = Path(name)
        references = References(stack)
        system = System(ROOT, directory / "this", references, stack)
        if options.against:
            systems = (system, System(options.against.resolve(), directory / "other", references, stack))
            measure(references, systems, options.rounds or QUICK_ROUNDS)
            print(report.compare(*systems))
        else:
            compare_pages(system)
            measure(references, (system,), options.rounds or ROUNDS)
            wait(references, system)
            say("Cold starts")
            print(report.write(system, cold.measure(directory / "cold")))
    say(f"{time.monotonic() - started:.0f} s")


def compare_pages(system: System) -> None:
    """Compare short and long lists on both databases."""
    say("Pages of 1,000 and of 1,000,000 items")
    system.compare_pages(system.sqlite("short"), system.sqlite("longest"))
    with running_postgres() as server:
        for name in ("short", "longest"):
            server.psql(f"CREATE DATABASE {name}")
        system.compare_pages(server.get_uri("short"), server.get_uri("longest"))


def measure(references: References, systems: Sequence[System], rounds: int) -> None:
    """Send each kind of request once a round, and then start each process once a round."""
    for number in range(rounds):
        say(f"Load, round {number + 1} of {rounds}")
        references.hello.run(SECONDS)
        references.hop.run(SECONDS)
        for name in systems[0].loads:
            # Of two checkouts each is the first in turn.
            for system in systems[:: -1 if number % 2 else 1]:
                system.loads[name].run(SECONDS)
    for system in systems:
        system.measure_memory()
    for number in range(rounds):
        say(f"Starts, round {number + 1} of {rounds}")
        references.start()
        for system in systems:
            system.start()


def wait(references: References, system: System) -> None:
    """Send requests at a constant rate, over an increasing number of connections."""
    for number in range(QUICK_ROUNDS + 1):
        say(f"Constant rate, round {number + 1} of {QUICK_ROUNDS + 1}")
        references.wait()
        system.wait()


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
