"""Processes that die under load: no read fails, and no acknowledged write is lost."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from lessons.runner.cluster import Cluster
from tests.cluster.conftest import NAMESPACE, NewClient, all_ready, eventually, get, kubectl, pods

PAUSE = 0.1
OK = 200
CREATED = 201
KILLER = f"{NAMESPACE}-killer"


@dataclass
class Traffic:
    """Continuous reads and writes, and their results."""

    ingress: NewClient
    cookies: httpx.Cookies
    reads: int = 0
    failed_reads: Counter[str] = field(default_factory=Counter)
    failed_writes: Counter[str] = field(default_factory=Counter)
    acknowledged: set[str] = field(default_factory=set)
    ended: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        # A proxy may reset the connection of a write that it rejects, and then kubectl stops all port-forwarding.
        with self.ingress() as reader, self.ingress() as writer:
            reader.cookies = writer.cookies = self.cookies
            while not self.ended.wait(PAUSE):
                for path in ("/api/currentUser", "/api/rule"):
                    self.read(reader, path)
                self.write(writer)

    def end(self) -> None:
        self.ended.set()
        self.thread.join()

    def read(self, client: httpx.Client, path: str) -> None:
        self.reads += 1
        if (status := status_of(client, "GET", path)) != OK:
            self.failed_reads[f"{path} {status}"] += 1

    def write(self, client: httpx.Client) -> None:
        """Add an item; only an acknowledged one counts."""
        name = f"item {len(self.acknowledged)}"
        if (status := status_of(client, "POST", "/api/rule", name)) == CREATED:
            self.acknowledged.add(name)
        else:
            self.failed_writes[str(status)] += 1

    def lost(self) -> set[str]:
        """Return the names of acknowledged items that the list does not have."""
        kept: set[str] = set()
        page, last = 0, 1
        with self.ingress() as client:
            client.cookies = self.cookies
            while page < last:
                page += 1
                body = client.get("/api/rule", params={"current": page, "pageSize": 100}).json()
                kept |= {item["name"] for item in body["data"]}
                last = -(-body["total"] // 100)
        return self.acknowledged - kept

    def __str__(self) -> str:
        failed = [f"{count} x {what}" for what, count in (self.failed_reads + self.failed_writes).items()]
        return f"{self.reads} reads, {len(self.acknowledged)} writes; failed: {', '.join(failed) or 'none'}"


def status_of(client: httpx.Client, method: str, path: str, name: str | None = None) -> int | str:
    """Send a request, and return the status of its answer, or why there is none."""
    try:
        return client.request(method, path, json={"name": name} if name else None).status_code
    except httpx.TransportError as error:
        return repr(error)


@pytest.fixture
def traffic(ingress: NewClient, person: httpx.Client) -> Iterator[Traffic]:
    traffic = Traffic(ingress, person.cookies)
    try:
        eventually(lambda: traffic.acknowledged)
        yield traffic
    finally:
        traffic.end()


@pytest.fixture(scope="module")
def kill(deployed: Cluster) -> Iterator[Callable[[Any, str], None]]:
    """Kill all processes of a container with signal 9, and wait until everything is ready again."""
    kubectl("create", "namespace", KILLER)
    # The first process of a container ignores this signal from its own processes: a pod that sees those of the node
    # sends it.
    image = pods("app=todolist")[0]["spec"]["containers"][0]["image"]

    def kill(pod: Any, container: str) -> None:
        name = pod["metadata"]["name"]
        before = running(name)[container]
        identity = before["containerID"].rpartition("/")[2]
        script = f"kill -KILL $(grep -sl {identity} /proc/[0-9]*/cgroup | cut -d/ -f3)"
        spec = {
            "hostPID": True,
            "nodeName": pod["spec"]["nodeName"],
            "restartPolicy": "Never",
            "containers": [{
                "name": "killer", "image": image, "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", script],
                "securityContext": {"privileged": True, "runAsUser": 0},
            }],
        }  # fmt: skip
        overrides = f"--overrides={json.dumps({'spec': spec})}"
        kubectl("run", "killer", f"--image={image}", overrides, namespace=KILLER)
        eventually(lambda: running(name).get(container, before)["restartCount"] > before["restartCount"])
        eventually(all_ready)
        kubectl("delete", "pod", "killer", "--grace-period=1", namespace=KILLER)

    yield kill
    kubectl("delete", "namespace", KILLER)


def running(name: str) -> dict[str, Any]:
    """Return the state of each container that runs in a pod, sidecars included, by its name."""
    status = get("pod", name)["status"]
    found = [*status["containerStatuses"], *status.get("initContainerStatuses", ())]
    return {container["name"]: container for container in found if "running" in container["state"]}


def one_of_each(selector: str) -> list[Any]:
    labels = ("app", "version")
    return list({tuple(pod["metadata"]["labels"][label] for label in labels): pod for pod in pods(selector)}.values())


@pytest.mark.usefixtures("not_on_knative")
@pytest.mark.timeout(600)
def test_a_rolling_restart_fails_no_request(traffic: Traffic, note: Callable[[str], None]) -> None:
    services = ("deployments", "--selector=app in (todolist, user, rule)")
    kubectl("rollout", "restart", *services)
    kubectl("rollout", "status", *services, "--timeout=400s")
    traffic.end()
    note(str(traffic))
    assert not traffic.failed_reads
    assert not traffic.failed_writes


@pytest.mark.timeout(1200)
def test_a_killed_process_of_a_service_fails_no_read_where_there_are_two(
    traffic: Traffic, kill: Callable[[Any, str], None], knative: bool, note: Callable[[str], None]
) -> None:
    eventually(all_ready)
    killed = 0
    for pod in one_of_each("app in (todolist, user, rule)"):
        for container in running(pod["metadata"]["name"]):
            kill(pod, container)
            killed += 1
    traffic.end()
    note(f"{killed} containers: {traffic}")
    assert traffic.lost() == set()
    if knative:
        # One pod of each: what is sent to it while it starts again fails.
        assert traffic.failed_reads.total() <= 20 * killed
    else:
        assert not traffic.failed_reads
        assert set(traffic.failed_writes) <= {"503"}


@pytest.mark.timeout(600)
def test_a_killed_process_of_a_database_loses_no_acknowledged_write(
    traffic: Traffic, kill: Callable[[Any, str], None], note: Callable[[str], None]
) -> None:
    for pod in one_of_each("app in (user-database, rule-database)"):
        for container in running(pod["metadata"]["name"]):
            kill(pod, container)
    before = len(traffic.acknowledged)
    # The services find their database again by themselves.
    eventually(lambda: len(traffic.acknowledged) > before)
    traffic.end()
    note(str(traffic))
    assert traffic.lost() == set()
    assert set(traffic.failed_writes) <= {"503"}
