"""`make bench`: measure the system as it ships, against baselines in the same run, and write docs/performance.md."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from tests.bench import lists, report, starts
from tests.bench.load import Scenario
from tests.conftest import running_postgres
from tests.support import ROOT, Service, answers, free_port, running, running_envoy, wait_until
from tests.wrk import require_wrk

ROUNDS = 5
MANY_REQUESTS, MORE_SECONDS = 200_000, 75
DATABASES = ("sqlite", "postgresql")


def main() -> None:
    """Run everything, in less than six minutes."""
    require_wrk()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="todolist-bench-") as name, ExitStack() as stack:
        directory = Path(name)
        system = System(directory, stack)
        say("Comparing lists of 1,000 and of 1,000,000 items")
        compared = {kind: lists.compare(system.rules[kind], system.long_rules[kind]) for kind in DATABASES}
        for service in system.long_rules.values():
            service.stop()
        idle = system.memory()
        scenarios = system.scenarios()
        say(f"Sending load: {len(scenarios)} kinds of request, {ROUNDS} rounds in turn")
        warm: dict[str, float] = {}
        for number in range(ROUNDS):
            for scenario in scenarios.values():
                scenario.run()
            warm = warm or system.memory()
            say(f"  round {number + 1} of {ROUNDS}")
        sent = {name: system.requests(name, scenarios) for name in idle}
        say(f"Sending more, {MANY_REQUESTS:,} requests to each service or for {MORE_SECONDS} s, to see memory grow")
        sent = system.send_more(sent)
        loaded = system.memory()
        say(f"Starting each service {starts.TIMES} times")
        system.stop()
        times = starts.measure(system.settings, directory)
        imports = {name: starts.dearest_imports(name) for name in starts.SERVICES}
    report.write(scenarios, compared, times, imports, report.Memory(idle, warm, loaded, sent))
    say(f"docs/performance.md is written, after {time.monotonic() - started:.0f} s")


class System:
    """The services on both databases, and the baselines."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        say("Starting the system on SQLite and on PostgreSQL, with 1,000 and with 1,000,000 items")
        server = stack.enter_context(running_postgres())
        urls = {}
        for name in ("few", "many"):
            server.psql(f"CREATE DATABASE {name}")
            urls["postgresql", name] = server.get_uri(name)
            urls["sqlite", name] = f"sqlite:///{directory / name}.db"
        self.rules = {kind: Service("rule", directory, DATABASE_URL=urls[kind, "few"]) for kind in DATABASES}
        self.long_rules = {kind: Service("rule", directory, DATABASE_URL=urls[kind, "many"]) for kind in DATABASES}
        self.settings = {
            "rule": {"DATABASE_URL": urls["sqlite", "few"]},
            "user": {"DATABASE_URL": f"sqlite:///{directory / 'user.db'}"},
        }
        self.user = Service("user", directory, **self.settings["user"])
        services = (*self.rules.values(), *self.long_rules.values(), self.user)
        stack.enter_context(running(*services))
        self.gateways = {
            kind: Service("todolist", directory, USER_URL=self.user.url, RULE_URL=rule.url)
            for kind, rule in self.rules.items()
        }
        stack.enter_context(running(*self.gateways.values()))
        lengths = {"few": lists.FEW, "many": lists.MANY}
        with ThreadPoolExecutor() as threads:
            list(threads.map(lists.fill, urls.values(), [lengths[name] for _, name in urls]))
        # The usual start finds its schema up to date, and then does without the migration's library.
        for service in services:
            service.stop()
            service.restart()
        self.hello_port = stack.enter_context(hello())
        # Envoy splits between two clusters, as in the local mesh; here both are the same process.
        hop = free_port()
        ports = {"USER_PORT": hop, "USER_V1_PORT": self.user.port, "USER_V2_PORT": self.user.port}
        template = ROOT / "deploy/local/envoy.yaml"
        self.hop_url = stack.enter_context(running_envoy(directory, template, hop, ports))

    def scenarios(self) -> dict[str, Scenario]:
        gateway = self.gateways["sqlite"]
        processes = {"gateway": process(gateway), "user": process(self.user)}
        cookie = {"cookie": f"jwtToken={self._log_in(gateway)}"}
        result = [
            Scenario("bare hello", f"http://127.0.0.1:{self.hello_port}/", {"hello": on_port(self.hello_port)}),
            Scenario(
                "Envoy hop", f"{self.hop_url}/user/guest",
                {"envoy": on_port(int(self.hop_url.rpartition(":")[2])), "user": process(self.user)},
            ),
            Scenario("profile", f"{gateway.url}/api/currentUser", processes),
            Scenario("profile, logged in", f"{gateway.url}/api/currentUser", processes, headers=cookie),
            Scenario(
                "page of the UI", f"{gateway.url}/", {"gateway": process(gateway)}, headers={"accept-encoding": "br"},
            ),
        ]  # fmt: skip
        for kind, gateway in self.gateways.items():
            processes = {"gateway": process(gateway), "rule": process(self.rules[kind])}
            result.append(Scenario(f"list, {kind}", f"{gateway.url}/api/rule", processes))
            # Not the guest's list, which stays at 1,000.
            writing = {"method": "POST", "body": '{"name": "milk", "desc": "two"}', "headers": cookie}
            result.append(Scenario(f"create, {kind}", f"{gateway.url}/api/rule", processes, **writing))
            result.append(
                Scenario(f"create by 8, {kind}", f"{gateway.url}/api/rule", processes, connections=8, **writing)
            )
        return {scenario.name: scenario for scenario in result}

    def _log_in(self, gateway: Service) -> str:
        answer = gateway.client.post("/user/register", json={"userName": "writer", "password": "a good password"})
        return str(answer.cookies["jwtToken"])

    def memory(self) -> dict[str, float]:
        """Return the resident MiB of each service."""
        services = {"gateway": self.gateways["sqlite"], "user": self.user}
        services |= {f"rule, {kind}": rule for kind, rule in self.rules.items()}
        return {name: process(service).memory_info().rss / 2**20 for name, service in services.items()}

    def send_more(self, sent: dict[str, int]) -> dict[str, int]:
        """Load all at once until each has answered MANY_REQUESTS or the time is over; return their requests."""
        urls = {"gateway": f"{self.gateways['sqlite'].url}/", "user": f"{self.user.url}/user/guest"}
        urls |= {f"rule, {kind}": f"{rule.url}/api/rule?pageSize=1" for kind, rule in self.rules.items()}
        end = time.monotonic() + MORE_SECONDS

        def send(name: str) -> int:
            scenario = Scenario(name, urls[name], {}, connections=8)
            while sent[name] + scenario.requests < MANY_REQUESTS and time.monotonic() < end:
                scenario.run(5)
            return sent[name] + scenario.requests

        with ThreadPoolExecutor() as threads:
            return dict(zip(urls, threads.map(send, urls), strict=True))

    def requests(self, name: str, scenarios: dict[str, Scenario]) -> int:
        """Return how many requests a service has answered."""
        part, _, kind = name.partition(", ")
        return sum(
            scenario.requests for scenario in scenarios.values() if part in scenario.processes and kind in scenario.name
        )

    def stop(self) -> None:
        for service in (*self.gateways.values(), *self.rules.values(), self.user):
            service.stop()


@contextmanager
def hello() -> Iterator[int]:
    """Run the bare baseline; give its port."""
    port = free_port()
    command = (sys.executable, "-m", "uvicorn", "tests.bench.hello:app", "--port", str(port), "--no-access-log")
    baseline = subprocess.Popen((*command, "--log-level", "error"), cwd=ROOT)
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/"), "the baseline answers")
        yield port
    finally:
        baseline.kill()
        baseline.wait()


def process(service: Service) -> psutil.Process:
    return psutil.Process(service.process.pid)


def on_port(port: int) -> psutil.Process:
    """Return the process that listens there."""
    pids = {c.pid for c in psutil.net_connections("tcp") if c.laddr.port == port and c.status == psutil.CONN_LISTEN}
    return psutil.Process(pids.pop())


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
