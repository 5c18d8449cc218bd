"""Searches through a long list: they do not delay other requests."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from threading import Event

import httpx
import psutil
import pytest

from tests.bench.lists import fill
from tests.conftest import NewDatabase
from tests.faults.conftest import Figure, whole_system
from tests.forking import Forked
from tests.support import Service, running, wait_until

COUNT = 1_000_000
SEARCHES = 8
READS = 60
# The default of DATABASE_TIMEOUT.
LIMIT = 5
# In no name, so that all of them have to be looked at.
SEARCH = {"name": "nothing like it"}


@dataclass(frozen=True)
class System:
    rule: Service
    url: str
    member: httpx.Client

    def read(self) -> float:
        """Return the seconds that a page of another owner's takes."""
        started = time.perf_counter()
        assert self.member.get("/api/rule").status_code == 200
        return time.perf_counter() - started


@pytest.fixture
def system(new_database: NewDatabase, token_key: Path, tmp_path: Path) -> Iterator[System]:
    """The whole system, where the guests have a long list, and another account a short one."""
    database = new_database()
    user = Forked("user", tmp_path, TOKEN_KEY_FILE=str(token_key))
    rule = Forked("rule", tmp_path, DATABASE_URL=database)
    with running(user, rule), whole_system(tmp_path / "all", user_port=user.port, rule_port=rule.port) as (envoy, _):
        fill(database, COUNT)
        with httpx.Client(base_url=envoy.url, timeout=60, trust_env=False) as member:
            account = {"userName": "somebody else", "password": "a good password"}
            assert member.post("/user/register", json=account).status_code == 201
            assert member.post("/api/rule", json={"name": "milk"}).status_code == 201
            yield System(rule, envoy.url, member)


@contextmanager
def searching(url: str, people: int) -> Iterator[list[httpx.Response]]:
    """Run this many clients that search repeatedly."""
    answers: list[httpx.Response] = []
    ended = Event()

    def search() -> None:
        while not ended.is_set():
            answers.append(httpx.get(f"{url}/api/rule", params=SEARCH, timeout=60, trust_env=False))

    with ThreadPoolExecutor(people) as threads:
        for _ in range(people):
            threads.submit(search)
        try:
            yield answers
        finally:
            ended.set()


@pytest.mark.alone
def test_searches_do_not_block_other_requests(system: System, figure: Figure) -> None:
    system.read()
    usual = median(system.read() for _ in range(READS))
    with searching(system.url, SEARCHES) as answers:
        wait_until(lambda: answers, "a search has been answered")
        beside = median(system.read() for _ in range(READS))
        started = time.perf_counter()
        assert system.rule.client.get("/readyz").status_code == 200
        readiness = time.perf_counter() - started
    assert beside <= 3 * usual
    assert readiness < 1
    statuses = [answer.status_code for answer in answers]
    assert {*statuses} <= {200, 503}
    assert {answer.json()["detail"] for answer in answers if answer.is_error} <= {
        f"The search took longer than {LIMIT} s."
    }
    assert 200 in statuses
    figure(
        f"{SEARCHES} searches at once through {COUNT:,} items: other owners' lists take at most 3 times as long as "
        f"without; a search that takes longer than {LIMIT} s is a 503 that says so",
        f"medians {usual * 1000:.0f} and {beside * 1000:.0f} ms; readiness after {readiness * 1000:.0f} ms; searches: "
        f"{statuses.count(200)} × 200, {statuses.count(503)} × 503",
    )


@pytest.mark.alone
def test_a_search_is_cancelled_when_its_client_disconnects(system: System, figure: Figure) -> None:
    process = psutil.Process(system.rule.process.pid)

    def used() -> float:
        """Return the processor seconds of rule, and of PostgreSQL's sessions, each a process."""
        sessions = [each for each in psutil.process_iter(["name"]) if each.info["name"] == "postgres"]
        total = 0.0
        for each in (process, *sessions):
            with suppress(psutil.NoSuchProcess):
                total += sum(each.cpu_times()[:2])
        return total

    def is_idle() -> bool:
        before, started = used(), time.monotonic()
        wait_until(lambda: time.monotonic() > started + 0.2, "0.2 s")
        return used() - before < 0.05

    with pytest.raises(httpx.ReadTimeout):
        httpx.get(f"{system.url}/api/rule", params=SEARCH, timeout=0.15, trust_env=False)
    left = time.monotonic()
    wait_until(is_idle, "nothing runs any more", 1.5)
    figure("A search whose caller has left is ended", f"idle {time.monotonic() - left:.1f} s after it left")
