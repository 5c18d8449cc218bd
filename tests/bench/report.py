"""The targets, and the figures of one run beside them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from tests.bench.load import CONNECTIONS, SECONDS, Load
from tests.bench.system import References, System
from tests.support import ROOT, commit, machine

FILE = ROOT / "docs/performance.md"
Rows = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Target:
    """A figure that is wanted. original: what the original in Node.js reached."""

    what: str
    original: str
    wanted: float
    measure: Callable[[System], float]
    at_least: bool = False
    form: str = ".2f"

    def row(self, system: System) -> Sequence[str]:
        measured = self.measure(system)
        met = measured >= self.wanted if self.at_least else measured <= self.wanted
        return (self.what, self.original, self.limit, format(measured, self.form), "met" if met else "not met")

    @property
    def limit(self) -> str:
        return f"{'at least' if self.at_least else 'at most'} {self.wanted:{self.form}}"


def share(name: str, original: str, wanted: float) -> Target:
    return Target(name, original, wanted, lambda system: system.share(name), at_least=True, form=".3f")


def start(name: str, original: str, wanted: float) -> Target:
    return Target(f"start of {name}", original, wanted, lambda system: system.start_multiple(name))


# The original listed all items of a list, and lost some of them when it was killed.
SHARES = (
    share("profile", "0.069", 0.135),
    share("list of 20", "0.054, from memory", 0.055),
    share("list of 1,000", "0.010, sends all", 0.048),
    share("create", "0.011, not durable", 0.065),
    share("page of the UI", "0.12", 0.50),
)
STARTS = (start("gateway", "0.6", 1.0), start("user", "0.4", 1.25), start("rule", "-", 1.25))
TAIL = Target("profile: p99, in multiples of its median", "-", 2, lambda system: system.tail("profile"))
PAGES = Target("a page of 1,000,000 items, in multiples of one of 1,000 (the worst)", "-", 1.3, System.page_ratio)
MEMORY = Target("memory of the gateway after the load, MiB", "-", 70, lambda system: system.memory["gateway"], form=".0f")


def compare(one: System, other: System) -> str:
    """Return the figures of two checkouts, side by side."""
    rows = []
    for target in (*SHARES, *STARTS, TAIL, MEMORY):
        here, there = target.measure(one), target.measure(other)
        rows.append(
            (target.what, target.limit, *(format(value, target.form) for value in (here, there)), f"{here / there:.2f}")
        )
    for name in one.loads:
        rows.append((f"{name}: µs of CPU", "", *(cpu(system.loads[name]) for system in (one, other)), ""))
    return table(("", "target", str(one.checkout), str(other.checkout), "ratio"), rows)


def write(system: System) -> str:
    """Write the file; return its text."""
    raise NotImplementedError


def cpu(load: Load) -> str:
    """Return the microseconds of CPU time that a request costs each process, the median of the rounds."""
    return ", ".join(f"{name} {used:.0f}" for name, each in load.cpu.items() if (used := median(each)) >= 1)


def table(head: Sequence[str], rows: Rows) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"
