"""`make bench`: measure the services beside a bare uvicorn, all in one run, and write docs/performance.md.

`python -m tests.bench --against ../other` measures another checkout in the same run instead, and prints both.
"""

import argparse
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.bench import report
from tests.bench.system import References, System
from tests.support import ROOT
from tests.wrk import require_wrk

ROUNDS, QUICK_ROUNDS = 12, 4


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="compare with the services of this checkout")
    other = parser.parse_args().against
    require_wrk()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="todolist-bench-") as name, ExitStack() as stack:
        references = References(stack)
        checkouts = [ROOT, other.resolve()] if other else [ROOT]
        systems = [
            System(checkout, Path(name) / str(number), references, stack) for number, checkout in enumerate(checkouts)
        ]
        if not other:
            say("Comparing pages of 1,000 and of 1,000,000 items")
            systems[0].compare_pages()
        measure(references, systems, QUICK_ROUNDS if other else ROUNDS)
    text = report.compare(*systems) if other else report.write(systems[0])
    print(text)
    say(f"after {time.monotonic() - started:.0f} s")


def measure(references: References, systems: list[System], rounds: int) -> None:
    """Send each kind of request and start each process once a round, in turn."""
    for number in range(rounds):
        say(f"Load, round {number + 1} of {rounds}")
        references.hello.run()
        references.hop.run()
        for name in systems[0].loads:
            # Neither of two checkouts is always the first.
            for system in systems[:: -1 if number % 2 else 1]:
                system.loads[name].run()
    for system in systems:
        system.weigh()
    for number in range(rounds):
        say(f"Starts, round {number + 1} of {rounds}")
        references.start()
        for system in systems:
            system.start()


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
