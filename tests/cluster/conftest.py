"""The deployed application, in kubectl's current cluster; `make verify` runs these tests."""

import json
import os
import re
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest

from lessons.runner.cluster import Cluster
from lessons.runner.locate import find_cluster
from lessons.runner.place import UnsuitableError

NAMESPACE = os.environ.get("NAMESPACE", "todolist")
WAIT = 180
NewClient = Callable[[], AbstractContextManager[httpx.Client]]

rows: list[tuple[str, str]] = []

# It removes everything, so it runs only on request.
collect_ignore = [] if os.environ.get("UNINSTALL") else ["test_uninstall.py"]


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Leave these tests out of a run that does not name them: they change a cluster."""
    return None if is_named(config) else True


def is_named(config: pytest.Config) -> bool:
    return any("cluster" in argument for argument in config.args)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print what was found, as a table."""
    if not is_named(config):
        return
    outcome = {
        report.nodeid.rpartition("::")[2]: name
        for name in ("passed", "failed", "error", "skipped")
        for report in terminalreporter.stats.get(name, [])
    }
    terminalreporter.section("the deployment")
    found = {check: [text for name, text in rows if name == check] for check in outcome}
    for check, result in outcome.items():
        words = check.removeprefix("test_").replace("_", " ")
        terminalreporter.write_line(f"{result:8} {words:64} {'; '.join(found[check])}")


@pytest.fixture
def note(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Add a result to the table."""
    return lambda text: rows.append((request.node.name, text))


def kubectl(*arguments: str, stdin: str | None = None, check: bool = True, namespace: str = NAMESPACE) -> str:
    command = ["kubectl", f"--namespace={namespace}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, input=stdin)
    assert not check or done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


def get(*arguments: str, namespace: str = NAMESPACE) -> Any:
    return json.loads(kubectl("get", *arguments, "--output=json", namespace=namespace))


def exists(thing: str, namespace: str = NAMESPACE) -> bool:
    return bool(kubectl("get", thing, "--output=name", "--ignore-not-found", check=False, namespace=namespace))


def eventually(check: Callable[[], Any], seconds: float = WAIT, interval: float = 1) -> Any:
    """Call until the answer is true, and return it; fail with the last answer."""
    deadline = time.monotonic() + seconds
    while not (answer := check()):
        assert time.monotonic() < deadline, f"still {answer!r} after {seconds:.0f} s"
        time.sleep(interval)
    return answer


@pytest.fixture(scope="session", autouse=True)
def deployed() -> Cluster:
    """Return the cluster with the application; skip everything where there is none."""
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is missing: see https://kubernetes.io/docs/tasks/tools/")
    if not kubectl("get", "--raw", "/version", "--request-timeout=10s", check=False):
        pytest.skip("no cluster answers kubectl: `make cluster` makes one")
    try:
        return find_cluster()
    except UnsuitableError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def knative(deployed: Cluster) -> bool:
    return deployed.name == "knative"


@pytest.fixture(scope="session")
def ambient(deployed: Cluster) -> bool:
    return deployed.name == "ambient"


@pytest.fixture
def on_ambient(ambient: bool) -> None:
    if not ambient:
        pytest.skip("in ambient mode only")


@pytest.fixture
def not_on_knative(knative: bool) -> None:
    if knative:
        pytest.skip("not on Knative")


@pytest.fixture(scope="session")
def ingress(deployed: Cluster) -> NewClient:
    return deployed.client


@pytest.fixture
def guest(ingress: NewClient) -> Iterator[httpx.Client]:
    with ingress() as client:
        yield client


@pytest.fixture
def person(ingress: NewClient) -> Iterator[httpx.Client]:
    with ingress() as client:
        account = {"userName": f"verify-{uuid.uuid4().hex[:8]}", "password": uuid.uuid4().hex}
        answer = client.post("/user/register", json=account)
        assert answer.status_code == 201, answer.text
        yield client


def answered_by(answer: httpx.Response, service: str) -> str | None:
    """Return the version of the service that a call behind the gateway reached."""
    match = re.search(rf"\b{service}/([a-z0-9.-]+)@", answer.headers.get("server-timing", ""))
    return match.group(1) if match else None


def pods(selector: str = "app.kubernetes.io/part-of=todolist") -> list[Any]:
    """Return the pods that are not on their way out."""
    found = get("pods", f"--selector={selector}")["items"]
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def is_ready(pod: Any) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))


def all_ready() -> bool:
    """Return whether every pod of the application is ready, and every Deployment is complete."""
    wanted = get("deployments,statefulsets", "--selector=app.kubernetes.io/part-of=todolist")["items"]
    complete = all(item["status"].get("readyReplicas", 0) >= item["spec"]["replicas"] for item in wanted)
    return complete and all(is_ready(pod) for pod in pods() if pod["status"]["phase"] != "Succeeded")
