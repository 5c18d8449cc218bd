"""The targets, and the figures of one run beside them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from tests.bench import cold, lists
from tests.bench.load import CONNECTIONS, Load
from tests.bench.system import CONNECTIONS as CONNECTIONS_AT_CONSTANT_RATE
from tests.bench.system import UTILISATION, System
from tests.support import ROOT, commit, machine

FILE = ROOT / "docs/performance.md"
PROCESSES = ("gateway", "user", "rule")

INTRODUCTION = f"""\
# Performance

`make bench` measured this and wrote this file. Each service is one process with its default settings, on SQLite, with
no proxy in between; wrk sends each kind of request over {CONNECTIONS} connections. The baseline is a bare uvicorn with
a hello-world application ([hello.py](../tests/bench/hello.py)), "hello" below. Requests and starts are measured
alternately, in rounds: a ratio compares two figures of the same round, and the tables give the median of all rounds.

A share of the baseline differs by a third between machines, so no target is set for it. Judge a change by
`python -m tests.bench --against ../other`, which compares this checkout with another in one run, in two minutes.
"""
# The last section of the file is measured in a cluster, and is kept.
BY_HAND = "## Cold start on Knative\n"
REQUESTS = """\
Profile: the gateway calls one user process. List of 20, list of 1,000: the first 20 items of a list of that length.
Create: the response is sent once the item is on disk. Page of the UI: the compressed HTML. The Envoy hop is one Envoy
in front of the baseline. CPU time is the lowest of the rounds, the other figures are medians.
"""
# Milliseconds that a queue takes to drain after a pause of 100 ms.
LEFT = 100 * UTILISATION / (1 - UTILISATION)
WAITS = f"""\
{UTILISATION:.0%} of the highest rate that each reached above; every latency counts from when the request was due. One
process handles one request after the other. Any pause, for example when another process has the CPU, leaves a queue: at
this rate, a pause of 100 ms leaves one that takes {LEFT:.0f} ms more to drain. The baseline does no work, so its
figures show how much of that the application does not cause. With more connections, more requests can wait at once.
"""
COLD = f"""\
`user` and `rule` scaled to zero in `make run`, then one call through all proxies: milliseconds until its response, and
the parts of that time, medians of {cold.ROUNDS}. `python -m tests.bench --cold` measures this alone.
"""


@dataclass(frozen=True)
class Target:
    """A target figure."""

    what: str
    wanted: float
    measure: Callable[[System], float]
    form: str = ".2f"


def start(name: str, wanted: float) -> Target:
    def measure(system: System) -> float:
        return median(mine / bare for mine, bare in zip(system.starts[name], system.references.starts, strict=True))

    return Target(f"start of {name}, in multiples of a bare FastAPI", wanted, measure)


TARGETS = (
    start("gateway", 1.3),
    start("user", 1.5),
    start("rule", 1.5),
    Target(
        "profile, p99 in multiples of its median", 2,
        lambda system: system.loads["profile"].median(lambda result: result.p99 / result.p50),
    ),
    Target("memory of the gateway after the load, MiB", 70, lambda system: system.memory["gateway"], form=".0f"),
)  # fmt: skip
# Not part of a comparison: a million items take too long.
PAGES = Target(
    "page of 1,000,000 items, in multiples of one of 1,000 (the worst)", 1.3,
    lambda system: max(ratio for pages in system.pages.values() for ratio in pages.values()),
)  # fmt: skip


def write(system: System, cold_starts: cold.Figures) -> str:
    """Write the file, and return its text."""
    targets = []
    for target in (*TARGETS, PAGES):
        measured = target.measure(system)
        met = "met" if measured <= target.wanted else "not met"
        targets.append((target.what, f"{target.wanted:{target.form}}", f"{measured:{target.form}}", met))
    references = system.references
    loads = {"hello": references.hello, "Envoy hop": references.hop, **system.loads}
    shares = ("Share of the baseline", "Share of the Envoy hop", "Requests/s", "p50, ms", "p99, ms")
    starts = {"bare FastAPI": references.starts, **system.starts}
    text = "\n".join((
        INTRODUCTION,
        f"Measured on {machine()}, at commit {commit(FILE)}.\n",
        "## Targets\n",
        table(("", "At most", "Measured", ""), targets),
        "## Requests\n",
        REQUESTS,
        table(
            ("", *shares, *(f"CPU of {name}, µs" for name in PROCESSES)),
            [(name, *cells(load, references.hello, references.hop)) for name, load in loads.items()],
        ),
        "## At a constant rate\n",
        WAITS,
        table(
            ("Connections", "hello: p50, ms", "p99, ms", "profile: p50, ms", "p99, ms"),
            [
                (str(connections), *waits(references.waits[connections]), *waits(system.waits[connections]))
                for connections in CONNECTIONS_AT_CONSTANT_RATE
            ],
        ),
        "## A page of 1,000,000 items in multiples of one of 1,000\n",
        table(
            ("", *system.pages),
            [(kind, *(f"{pages[kind]:.2f}" for pages in system.pages.values())) for kind in lists.QUERIES],
        ),
        "## Processes\n",
        "A start ends with the first 200. Memory is resident, after the load.\n",
        table(
            ("", "Start, ms", "Memory, MiB"),
            [
                (name, f"{median(times):.0f}", f"{system.memory[name]:.0f}" if name in system.memory else "")
                for name, times in starts.items()
            ],
        ),
        cold_section(cold_starts),
    ))  # fmt: skip
    _, heading, by_hand = FILE.read_text().partition(BY_HAND)
    FILE.write_text(f"{text}\n{heading}{by_hand}")
    return text


def waits(rounds: Sequence[tuple[float, float]]) -> Sequence[str]:
    """Return the medians of the rounds, in milliseconds."""
    return [f"{median(figures) * 1000:,.1f}" for figures in zip(*rounds, strict=True)]


def cold_section(figures: cold.Figures) -> str:
    """Return the section about cold starts in `make run`."""
    rows = [(what, *(f"{parts[part]:.0f}" for parts in figures.values())) for part, what in cold.PARTS.items()]
    rows.append(("together", *(f"{parts['whole']:.0f}" for parts in figures.values())))
    return "\n".join(("## Cold start on the laptop\n", COLD, table(("", *figures), rows)))


def cells(load: Load, hello: Load, hop: Load) -> Sequence[str]:
    """Return the figures of a load."""
    rate, p50, p99 = (median(getattr(result, name) for result in load.results) for name in ("rate", "p50", "p99"))
    shares = (f"{load.share(other):.3f}" for other in (hello, hop))
    used = (f"{min(load.cpu[name]):,.0f}" if name in load.cpu else "" for name in PROCESSES)
    return (*shares, f"{rate:,.0f}", f"{p50 * 1000:.1f}", f"{p99 * 1000:.1f}", *used)


def compare(one: System, other: System) -> str:
    """Return the figures of two checkouts, side by side."""
    figures = [(f"{name}, share of the baseline", ".3f", share(name)) for name in one.loads]
    figures += [(target.what, target.form, target.measure) for target in TARGETS]
    for name, load in one.loads.items():
        figures += [(f"{name}, CPU of {process}, µs", ".0f", cpu(name, process)) for process in load.processes]
    for name in one.starts:
        figures.append((f"start of {name}, ms, the lowest", ".0f", lambda system, name=name: min(system.starts[name])))
    rows = []
    for what, form, measure in figures:
        here, there = measure(one), measure(other)
        rows.append((what, f"{here:{form}}", f"{there:{form}}", f"{here / there:.2f}"))
    return table(("", str(one.checkout), str(other.checkout), "Ratio"), rows)


def share(load: str) -> Callable[[System], float]:
    """Measure the rate of a kind of request as a share of the baseline's."""
    return lambda system: system.loads[load].share(system.references.hello)


def cpu(load: str, process: str) -> Callable[[System], float]:
    """Measure the CPU time of a request, in microseconds: the lowest of the rounds, as others only add to it."""
    return lambda system: min(system.loads[load].cpu[process])


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
