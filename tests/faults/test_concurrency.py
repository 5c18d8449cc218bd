"""Concurrent writes: one defined outcome, and no 500."""

import random
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from threading import Barrier, Event

import httpx
import pytest

from services.user.passwords import MAX_SLOTS
from tests.conftest import NewDatabase
from tests.faults.conftest import Figure, whole_system
from tests.forking import Forked
from tests.support import free_port, running, wait_until

pytestmark = pytest.mark.quick


def test_two_writers_on_one_item_lose_no_change(member: httpx.Client, figure: Figure) -> None:
    item = member.post("/api/rule", json={"name": "milk"}).json()
    together = Barrier(2)

    def change(field: str) -> set[int]:
        together.wait()
        bodies = ({"key": item["key"], field: f"{field} {number}"} for number in range(50))
        return {member.put("/api/rule", json=body).status_code for body in bodies}

    with ThreadPoolExecutor(2) as threads:
        assert set().union(*threads.map(change, ("name", "desc"))) == {200}
    (now,) = member.get("/api/rule").json()["data"]
    assert (now["name"], now["desc"], now["callNo"]) == ("name 49", "desc 49", 100)
    figure("Two writers on one item: both changes count", "2 × 50 changes of different fields, 100 counted")


def test_a_delete_while_it_is_updated_is_final(member: httpx.Client, figure: Figure) -> None:
    seen: Counter[int] = Counter()
    for _ in range(5):
        key = member.post("/api/rule", json={"name": "milk"}).json()["key"]
        updated: list[int] = []
        deleted = Event()

        def update(key: str = key, updated: list[int] = updated, deleted: Event = deleted) -> tuple[list, list]:
            before: list[int] = []
            after: list[int] = []
            while len(after) < 3:
                statuses = after if deleted.is_set() else before
                answer = member.put("/api/rule", json={"key": key, "status": 2})
                statuses.append(answer.status_code)
                updated.append(answer.status_code)
            return before, after

        with ThreadPoolExecutor(4) as threads:
            updates = [threads.submit(update) for _ in range(4)]
            wait_until(lambda updated=updated: len(updated) > 8, "updates")
            answer = member.request("DELETE", "/api/rule", json={"key": key})
            deleted.set()
        assert (answer.status_code, answer.json()["list"]) == (200, [])
        for before, after in (each.result() for each in updates):
            # Gone at once for some, before the deleter heard of it; and gone for good.
            assert before == sorted(before)
            assert {*before} <= {200, 404}
            assert after == [404] * 3
        seen.update(updated)
    assert member.get("/api/rule").json()["total"] == 0
    figure(
        "A delete while the item is updated: the update is whole or a 404, and the item stays deleted",
        f"5 deletes among {seen.total()} updates: {seen[200]} × 200, then {seen[404]} × 404",
    )


def test_the_same_registration_many_times_at_once_is_one_account(
    visitor: httpx.Client, unique: Callable[[str], str], figure: Figure
) -> None:
    account = {"userName": unique("wanted"), "password": "a good password"}
    # As many as one process has places for, in case chance sends them all to the same.
    with ThreadPoolExecutor(MAX_SLOTS) as threads:
        answers = list(threads.map(lambda _: visitor.post("/user/register", json=account), range(MAX_SLOTS)))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: MAX_SLOTS - 1}
    assert visitor.post("/api/login/account", json=account).status_code == 200
    figure(
        f"The same registration {MAX_SLOTS} times at once, at two processes: one account",
        f"1 × 201, {MAX_SLOTS - 1} × 409",
    )


def test_updates_of_the_same_items_at_two_replicas_do_not_deadlock(
    new_database: NewDatabase, tmp_path: Path, figure: Figure
) -> None:
    """Each replica has an ingress and a gateway of its own; 64 clients, ten items, random order."""
    database, clients, seconds = new_database(), 64, 2
    replicas = [Forked("rule", tmp_path, DATABASE_URL=database) for _ in range(2)]
    with running(*replicas), ExitStack() as stack:
        urls = []
        for rule in replicas:
            system = whole_system(tmp_path / str(rule.port), user_port=free_port(), rule_port=rule.port)
            urls.append(f"{stack.enter_context(system)[0].url}/api/rule")
        keys = [httpx.post(urls[0], json={"name": "milk"}, trust_env=False).json()["key"] for _ in range(10)]
        ended = time.monotonic() + seconds

        def update(number: int) -> list[tuple[int, float]]:
            answers = []
            choice = random.Random(number)
            with httpx.Client(timeout=60, trust_env=False) as client:
                while time.monotonic() < ended:
                    for key in choice.sample(keys, len(keys)):
                        started = time.monotonic()
                        answer = client.put(urls[number % 2], json={"key": key, "desc": f"{number} {len(answers)}"})
                        answers.append((answer.status_code, time.monotonic() - started))
            return answers

        with ThreadPoolExecutor(clients) as threads:
            answers = [answer for each in threads.map(update, range(clients)) for answer in each]
        items = httpx.get(urls[1], params={"pageSize": 100}, trust_env=False).json()["data"]
    assert Counter(status for status, _ in answers) == {200: len(answers)}
    # None is lost.
    assert sum(item["callNo"] for item in items) == len(answers)
    figure(
        f"{clients} clients change the same ten items at two replicas, in random order: no deadlock, no change lost",
        f"{len(answers):,} × 200 in {seconds} s; the median after "
        f"{median(seconds for _, seconds in answers) * 1000:.0f} ms",
    )
