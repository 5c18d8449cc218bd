"""An upstream that is broken in each way: a problem in time, everything else at full rate, recovery at once."""

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from tests.faults.conftest import Figure
from tests.faults.proxy import Proxy, proxy
from tests.forking import Forked
from tests.support import Service, running, wait_until
from tests.wrk import Result, wrk

TIMEOUT = 1
FULL = 0.8
PATHS = {"user": "/api/currentUser", "rule": "/api/rule"}


@dataclass(frozen=True)
class System:
    gateway: Service
    # With the same upstreams, but nobody asks it for what is broken.
    other: Service
    upstreams: dict[str, Service]
    networks: dict[str, Proxy]

    def full_rate(self, path: str) -> tuple[Result, Result] | None:
        """Return what both gateways gave in a second each, or None when the first gave less."""
        meanwhile, usual = (wrk(each.url + path, connections=8, seconds=1) for each in (self.gateway, self.other))
        return (meanwhile, usual) if meanwhile.rate > FULL * usual.rate else None


@pytest.fixture
def system(token_key: Path, tmp_path: Path) -> Iterator[System]:
    """Two gateways, and between them and each of their upstreams a network that can break."""
    user, rule = Forked("user", tmp_path, TOKEN_KEY_FILE=str(token_key)), Forked("rule", tmp_path)
    networks = [proxy(lambda port=each.port: socket.create_connection(("127.0.0.1", port))) for each in (user, rule)]
    with running(user, rule), networks[0] as to_user, networks[1] as to_rule:
        urls = {f"{name}_URL": f"http://127.0.0.1:{each.port}" for name, each in (("USER", to_user), ("RULE", to_rule))}
        gateways = [Forked("todolist", tmp_path, UPSTREAM_TIMEOUT=str(TIMEOUT), **urls) for _ in range(2)]
        with running(*gateways):
            yield System(*gateways, {"user": user, "rule": rule}, {"user": to_user, "rule": to_rule})


@contextmanager
def down(service: Service, network: Proxy) -> Iterator[None]:
    service.kill()
    with network.refusing():
        try:
            yield
        finally:
            service.restart()


@contextmanager
def frozen(service: Service, _: Proxy) -> Iterator[None]:
    process = psutil.Process(service.process.pid)
    process.suspend()
    try:
        yield
    finally:
        process.resume()


FAULTS: dict[str, Callable[[Service, Proxy], AbstractContextManager[None]]] = {
    "down": down,
    "frozen": frozen,
    "slow (10 s)": lambda _, network: network.hanging(10),
    "answering garbage": lambda _, network: network.spoiling(lambda _: b"\x00\xff garbage\r\n\r\n"),
    "closing mid-body": lambda _, network: network.spoiling(lambda answer: answer[:-10]),
}


class Callers:
    """Four people who want what is broken, again and again; what they were answered, and how slowly."""

    def __init__(self, url: str) -> None:
        self._url, self._ended = url, threading.Event()
        self.statuses: Counter[int] = Counter()
        self.slowest = 0.0

    def call(self) -> None:
        with httpx.Client(timeout=60, trust_env=False) as client:
            while not self._ended.wait(0.5):
                started = time.monotonic()
                answer = client.get(self._url)
                self.slowest = max(self.slowest, time.monotonic() - started)
                self.statuses[answer.status_code] += 1
                assert answer.headers["content-type"] == "application/problem+json"

    @contextmanager
    def at_work(self) -> Iterator[None]:
        with ThreadPoolExecutor(4) as threads:
            calls = [threads.submit(self.call) for _ in range(4)]
            try:
                wait_until(lambda: self.statuses, "answers")
                yield
            finally:
                self._ended.set()
        for call in calls:
            call.result()


@pytest.mark.alone
@pytest.mark.parametrize("name", FAULTS)
def test_a_broken_upstream_is_a_problem_in_time_and_the_rest_goes_on(name: str, system: System, figure: Figure) -> None:
    gateway, figures = system.gateway, []
    for broken, whole in (("user", "rule"), ("rule", "user")):
        callers = Callers(gateway.url + PATHS[broken])
        with FAULTS[name](system.upstreams[broken], system.networks[broken]), callers.at_work():
            # Not in the first seconds at any price: somebody else may have had the machine.
            meanwhile, usual = wait_until(
                lambda path=PATHS[whole]: system.full_rate(path), f"{whole} at full rate", seconds=10
            )
            assert gateway.client.get("/").status_code == 200
        back = time.monotonic()
        wait_until(lambda path=PATHS[broken]: gateway.client.get(path).status_code == 200, "whole again")
        back = time.monotonic() - back
        assert set(callers.statuses) <= {502, 503, 504}
        assert callers.slowest < TIMEOUT + 0.5
        assert usual.errors == meanwhile.errors == 0
        assert back < 1
        statuses = ", ".join(f"{count} × {status}" for status, count in callers.statuses.items())
        figures.append(
            f"{broken}: {statuses}, the slowest after {callers.slowest:.1f} s; {whole} meanwhile at "
            f"{meanwhile.rate / usual.rate:.0%} of its rate; whole again after {back:.2f} s"
        )
    figure(
        f"An upstream {name}: a problem within UPSTREAM_TIMEOUT ({TIMEOUT} s), the rest at full rate, recovery in 1 s",
        "; ".join(figures),
    )
