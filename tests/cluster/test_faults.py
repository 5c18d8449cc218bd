"""Pods that die under traffic: what the mesh may repeat is not lost, and what was acknowledged stays."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import httpx
import pytest

from tests.cluster.conftest import all_ready, eventually, kubectl, pods

PAUSE = 0.1
OK = 200
CREATED = 201


@dataclass
class Traffic:
    """Reads and writes without end, and what became of them."""

    client: httpx.Client
    reads: int = 0
    failed: list[str] = field(default_factory=list)
    acknowledged: set[str] = field(default_factory=set)
    ended: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Send requests until told to end."""
        while not self.ended.wait(PAUSE):
            for path in ("/api/currentUser", "/api/rule"):
                self.read(path)
            self.write()

    def read(self, path: str) -> None:
        """Read, and remember a failure."""
        self.reads += 1
        try:
            answer = self.client.get(path)
        except httpx.HTTPError as error:
            self.failed.append(f"{path}: {error!r}")
            return
        if answer.status_code != OK:
            self.failed.append(f"{path}: {answer.status_code} {answer.text[:200]}")

    def write(self) -> None:
        """Add an item; only an acknowledged one counts."""
        try:
            answer = self.client.post("/api/rule", json={"name": f"item {len(self.acknowledged)}"})
        except httpx.HTTPError:
            return
        if answer.status_code == CREATED:
            self.acknowledged.add(answer.json()["key"])

    def lost(self) -> set[str]:
        """Return the keys of acknowledged items that the list does not have."""
        kept: set[str] = set()
        page, last = 0, 1
        while page < last:
            page += 1
            body = self.client.get("/api/rule", params={"current": page, "pageSize": 100}).json()
            kept |= {item["key"] for item in body["data"]}
            last = -(-body["total"] // 100)
        return self.acknowledged - kept


@pytest.fixture
def traffic(person: httpx.Client) -> Iterator[Traffic]:
    """Send traffic in the background."""
    found = Traffic(person)
    thread = threading.Thread(target=found.run)
    thread.start()
    yield found
    found.ended.set()
    thread.join()


def kill(name: str) -> None:
    """Take a pod away as a node drain would, and wait until the application is whole again."""
    kubectl("delete", "pod", name, "--wait=false")
    time.sleep(1)
    eventually(all_ready)


@pytest.mark.usefixtures("on_istio")
@pytest.mark.timeout(1200)
def test_killing_any_pod_of_a_service_loses_nothing(traffic: Traffic, note: Callable[[str], None]) -> None:
    eventually(all_ready)
    killed = [pod["metadata"]["name"] for pod in pods("app in (todolist, user, rule)")]
    for name in killed:
        kill(name)
    traffic.ended.set()
    time.sleep(1)
    note(f"{len(killed)} pods killed during {traffic.reads} reads and {len(traffic.acknowledged)} writes")
    assert traffic.failed == []
    assert traffic.acknowledged
    assert traffic.lost() == set()


@pytest.mark.timeout(600)
def test_killing_a_database_loses_no_acknowledged_write(traffic: Traffic, note: Callable[[str], None]) -> None:
    eventually(lambda: traffic.acknowledged)
    for pod in pods("app in (user-database, rule-database)"):
        kill(pod["metadata"]["name"])
    before = len(traffic.acknowledged)
    # The services find their database again by themselves.
    eventually(lambda: len(traffic.acknowledged) > before)
    traffic.ended.set()
    time.sleep(1)
    note(f"{len(traffic.acknowledged)} writes")
    assert traffic.lost() == set()
