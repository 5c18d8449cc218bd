"""An upstream with each kind of fault: a timely problem, everything else at full rate, recovery at once."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.faults.callers import Callers
from tests.faults.conftest import Figure, whole_system
from tests.faults.proxy import Proxy
from tests.forking import Forked
from tests.support import Service, running, wait_until
from tests.wrk import Result, wrk

# Envoy gives up after 8 s, and a read that is tried three times after 6 s.
IN_TIME = 10
FULL = 0.8
PATHS = {"user": "/api/currentUser", "rule": "/api/rule"}


@dataclass(frozen=True)
class System:
    # Of the ingress, and of another one with the same upstreams, which nobody asks for what is broken.
    url: str
    other_url: str
    upstreams: dict[str, Service]
    networks: dict[str, Proxy]

    def status(self, path: str) -> int:
        return httpx.get(self.url + path, trust_env=False, timeout=60).status_code

    def full_rate(self, path: str) -> tuple[Result, Result] | None:
        """Return what both gave in a second each, or None when the first gave less."""
        meanwhile, usual = (wrk(url + path, connections=8, seconds=1) for url in (self.url, self.other_url))
        return (meanwhile, usual) if meanwhile.rate > FULL * usual.rate else None


@pytest.fixture
def system(token_key: Path, tmp_path: Path) -> Iterator[System]:
    """The whole system twice, with a network that can break before each upstream."""
    user, rule = Forked("user", tmp_path, TOKEN_KEY_FILE=str(token_key)), Forked("rule", tmp_path)

    def network(service: Service) -> AbstractContextManager[Proxy]:
        return closing(Proxy(lambda: socket.create_connection(("127.0.0.1", service.port))))

    with running(user, rule), network(user) as to_user, network(rule) as to_rule:
        first, second = (
            whole_system(tmp_path / name, user_port=to_user.port, rule_port=to_rule.port) for name in ("one", "other")
        )
        with first as (one, _), second as (other, _):
            yield System(one.url, other.url, {"user": user, "rule": rule}, {"user": to_user, "rule": to_rule})


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
    service.process.suspend()
    try:
        yield
    finally:
        service.process.resume()


FAULTS: dict[str, Callable[[Service, Proxy], AbstractContextManager[None]]] = {
    "down": down,
    "frozen": frozen,
    "slow (10 s)": lambda _, network: network.hanging(10),
    "answering garbage": lambda _, network: network.spoiling(lambda _: b"\x00\xff garbage\r\n\r\n"),
    "closing mid-body": lambda _, network: network.spoiling(lambda answer: answer[:-10]),
}


@pytest.mark.alone
@pytest.mark.parametrize("name", FAULTS)
def test_a_broken_upstream_is_a_timely_problem_for_its_calls_only(name: str, system: System, figure: Figure) -> None:
    figures = []
    for broken, whole in (("user", "rule"), ("rule", "user")):
        callers = Callers(system.url + PATHS[broken], "GET", people=4, pause=0.5)
        with FAULTS[name](system.upstreams[broken], system.networks[broken]), callers.at_work():
            # Not in the first seconds at any price: somebody else may have had the machine.
            meanwhile, usual = wait_until(
                lambda path=PATHS[whole]: system.full_rate(path), f"{whole} at full rate", seconds=20
            )
            assert system.status("/") == 200
        back = time.monotonic()
        wait_until(lambda path=PATHS[broken]: system.status(path) == 200, "whole again")
        back = time.monotonic() - back
        assert set(callers.statuses) <= {("GET", status) for status in (502, 503, 504)}
        assert max(callers.slowest.values()) < IN_TIME
        assert usual.errors == meanwhile.errors == 0
        assert back < 1
        figures.append(
            f"{broken}: {callers.summary()}; {whole} meanwhile at {meanwhile.rate / usual.rate:.0%} of its rate; "
            f"whole again after {back:.2f} s"
        )
    figure(
        f"An upstream {name}: a problem within {IN_TIME} s, the rest at full rate, recovery within 1 s",
        "; ".join(figures),
    )
