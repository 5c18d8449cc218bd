"""docs/performance.md: the figures of one run, beside the targets."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from services.todolist.ui import ENCODINGS
from tests.bench.load import CONNECTIONS, SECONDS, Scenario
from tests.bench.starts import TIMES
from tests.support import ROOT, commit, machine

FILE = ROOT / "docs/performance.md"
STATIC = ROOT / "services/todolist/static"
# What the machine reached on which the absolute targets were set: requests per second, milliseconds.
HELLO_RATE, FASTAPI_START = 33_000, 320
Rows = Sequence[Sequence[str]]
Form = Callable[[float], str]

INTRODUCTION = f"""\
# Performance

`make bench` measured this and wrote this file. The system runs as it ships: sessions, limits, headers, metrics and
logs on, one process per service; services and wrk share the machine. Each kind of request is sent for {SECONDS} s over
{CONNECTIONS} connections, all kinds in turn, in five rounds; the figures are medians of the rounds. The baselines are a
bare uvicorn that says hello, and one Envoy before the same user service. Rates differ from machine to machine, and
are best read as shares of a baseline of the same run.
"""


SHORT = """\
A figure short of an absolute target is followed by what it would be at the speed of the machine on which the target
was set, judged by a baseline that ran on both. The rest of why: 32 connections to one process wait 32 divided by its
rate, so the p99 follows the rate; a start is mostly imports, and idle memory mostly what was imported.
"""


MEMORY = """\
Resident memory. At the end each service is sent requests until it has answered 200,000, or for 75 s: how many it was
stands in the last column. More would take the bench beyond six minutes.
"""


def plain(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def percent(value: float) -> str:
    return f"{value:.0%}"


def ratio(value: float) -> str:
    return f"{value:.2f}"


@dataclass(frozen=True)
class Scale:
    """How many times as fast the machine was on which a target was set, and at what."""

    baseline: str
    factor: float

    def __str__(self) -> str:
        return f"on a machine {self.factor:.1f} times as fast, as that of the target was with {self.baseline}"


@dataclass(frozen=True)
class Memory:
    """Resident MiB of each service before the load, after its first round and at its end; requests it answered."""

    idle: Mapping[str, float]
    warm: Mapping[str, float]
    loaded: Mapping[str, float]
    requests: Mapping[str, int]


def write(
    scenarios: Mapping[str, Scenario],
    compared: Mapping[str, Mapping[str, tuple[float, float]]],
    times: Mapping[str, Sequence[float]],
    imports: Mapping[str, Sequence[tuple[str, float]]],
    memory: Memory,
) -> None:
    """Write the file, and print it."""
    parts = [
        INTRODUCTION,
        f"Measured on {machine()}, at commit {commit(FILE)}.\n",
        "## Targets\n",
        table(("What", "Target", "Measured", ""), targets(scenarios, compared, times, memory)),
        SHORT,
        "## Load\n",
        table(
            ("Request", "Requests/s (lowest to highest)", "p50 ms", "p99 ms", "longest ms", "CPU per request, µs"),
            [load_row(scenario) for scenario in scenarios.values()],
        ),
        "## Lists of 1,000 and of 1,000,000 items\n",
        "Milliseconds at the rule service, one connection, in turn, medians. A page has 20 items; page 400 has 2, so "
        "that the short list has it too.\n",
        *(table((kind, "1,000", "1,000,000", "Ratio"), long_rows(pages)) for kind, pages in compared.items()),
        "## Start\n",
        f"Milliseconds from starting the process to its first 200, {TIMES} times in turn, bytecode compiled. "
        "The services' database exists already.\n",
        table(
            ("Process", "Median", "Lowest", "Highest"),
            [(name, *(f"{f(taken):.0f}" for f in (median, min, max))) for name, taken in times.items()],
        ),
        "What is imported, by package, in milliseconds (`python -X importtime`, which itself takes time):\n",
        table(
            ("Service", "The ten dearest"),
            [
                (name, ", ".join(f"{package} {ms:.0f}" for package, ms in packages))
                for name, packages in imports.items()
            ],
        ),
        "## Memory\n",
        MEMORY,
        table(
            ("Service", "Idle, MiB", "After the first round", "After the load", "Requests answered"),
            [
                (name, *(f"{part[name]:.0f}" for part in (memory.idle, memory.warm, memory.loaded)), f"{count:,}")
                for name, count in memory.requests.items()
            ],
        ),
    ]
    text = "\n".join(parts)
    FILE.write_text(text)
    print(text)


def targets(
    scenarios: Mapping[str, Scenario],
    compared: Mapping[str, Mapping[str, tuple[float, float]]],
    times: Mapping[str, Sequence[float]],
    memory: Memory,
) -> Rows:
    """Return what is wanted beside what was measured."""
    hello, hop = scenarios["bare hello"], scenarios["Envoy hop"]
    profile, page = scenarios["profile"], scenarios["page of the UI"]
    # Where the target is an absolute figure, what it would be at the speed of the machine on which it was set.
    rate = Scale("the bare hello", HELLO_RATE / hello.rate)
    start = Scale("a bare FastAPI", median(times["bare FastAPI"]) / FASTAPI_START)
    rows = [
        at_least("Profile through the gateway, share of the Envoy hop", profile.rate / hop.rate, 0.24, percent),
        at_most(f"The same, p99 with {CONNECTIONS} connections, ms", median(profile.p99), 15, scale=rate),
        at_least("Page of the UI, share of the bare hello", page.rate / hello.rate, 0.30, percent),
        at_most("The whole UI in Brotli, KiB", ui_size(), 60),
    ]
    for kind, wanted in (("sqlite", 1_100), ("postgresql", 1_500)):
        listing, creating, few = (scenarios[f"{name}, {kind}"] for name in ("list", "create", "create by 8"))
        ratios = {name: many / short for name, (short, many) in compared[kind].items()}
        create = ratios.pop("create")
        worst = max(ratios, key=lambda name: ratios[name])
        rows += [
            at_least(
                f"List through the gateway, {kind}, share of the Envoy hop", listing.rate / hop.rate, 0.08, percent
            ),
            at_least(f"The same, {kind}, requests/s", listing.rate, 1_500, scale=rate),
            at_most(f"Page of 1,000,000 to that of 1,000, {kind}, the dearest ({worst})", ratios[worst], 1.3, ratio),
            at_least(f"Create through the gateway, {kind}, requests/s", creating.rate, wanted, scale=rate),
            at_most(f"Create beside 1,000,000 to that beside 1,000, {kind}", create, 1.3, ratio),
            at_most(f"Create with 8 connections, {kind}, the longest, ms", max(few.max), 250),
        ]
    for name, wanted in (("todolist", 400), ("user", 500), ("rule", 500)):
        rows.append(at_most(f"Start of {name}, ms", median(times[name]), wanted, scale=start))
    for name in memory.idle:
        rows.append(at_most(f"Memory of {name}, idle, MiB", memory.idle[name], 75))
        rows.append(at_most(f"Memory of {name}, after the load, MiB", memory.loaded[name], 90))
    return rows


def at_least(
    what: str, measured: float, wanted: float, form: Form = plain, scale: Scale | None = None
) -> Sequence[str]:
    there = f"; {form(measured * scale.factor)} {scale}" if scale else ""
    return (what, f"at least {form(wanted)}", form(measured), "met" if measured >= wanted else f"short{there}")


def at_most(what: str, measured: float, wanted: float, form: Form = plain, scale: Scale | None = None) -> Sequence[str]:
    there = f"; {form(measured / scale.factor)} {scale}" if scale else ""
    return (what, f"at most {form(wanted)}", form(measured), "met" if measured <= wanted else f"short{there}")


def load_row(scenario: Scenario) -> Sequence[str]:
    cpu = ", ".join(f"{name} {median(used):,.0f}" for name, used in scenario.cpu.items())
    rates = f"{scenario.rate:,.0f} ({min(scenario.rates):,.0f} to {max(scenario.rates):,.0f})"
    return (
        scenario.name,
        rates,
        plain(median(scenario.p50)),
        plain(median(scenario.p99)),
        plain(max(scenario.max)),
        cpu,
    )


def long_rows(pages: Mapping[str, tuple[float, float]]) -> Rows:
    return [(name, f"{few:.2f}", f"{many:.2f}", ratio(many / few)) for name, (few, many) in pages.items()]


def table(head: Sequence[str], rows: Rows) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def ui_size() -> float:
    """Return the KiB of all files of the UI, as the gateway compresses them."""
    return sum(len(ENCODINGS["br"](file.read_bytes())) for file in STATIC.rglob("*") if file.is_file()) / 1024
