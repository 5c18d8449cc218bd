"""What people see: the page and the API through the ingress, the split, traces, scaling to zero."""

import json
import math
import time
import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.cluster.conftest import (
    KNATIVE_SERVICE,
    NAMESPACE,
    answered_by,
    eventually,
    exists,
    get,
    kubectl,
)

Note = Callable[[str], None]

REQUESTS = 400
# A right split stays within 4 standard deviations all but once in 16,000 runs.
DEVIATIONS = 4
# Knative takes a service's last pod away after a minute without requests, and is in no hurry.
UNTIL_ZERO = 300


def test_page_and_api_answer_through_the_ingress(guest: httpx.Client, person: httpx.Client) -> None:
    page = guest.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert guest.get("/api/currentUser").json()["userid"]
    item = person.post("/api/rule", json={"name": "milk"})
    assert item.status_code == 201
    page_of_items = person.get("/api/rule").json()
    assert [entry["name"] for entry in page_of_items["data"]] == ["milk"]
    deleted = person.request("DELETE", "/api/rule", json={"key": item.json()["key"]})
    assert deleted.json()["pagination"]["total"] == 0


def weights(knative: bool) -> dict[str, int]:
    """Return the split as the cluster has it."""
    if knative:
        traffic = get(f"{KNATIVE_SERVICE}/user")["spec"]["traffic"]
        return {entry["tag"]: entry["percent"] for entry in traffic}
    routes = get("virtualservice/user")["spec"]["http"]
    return {entry["destination"]["subset"]: entry["weight"] for entry in routes[0]["route"]}


def test_split_is_what_it_says(guest: httpx.Client, knative: bool, note: Note) -> None:
    wanted = weights(knative)
    seen = dict.fromkeys(wanted, 0)
    for _ in range(REQUESTS):
        answer = guest.get("/api/currentUser")
        version = answered_by(answer, "user")
        assert version in seen, answer.headers
        assert answer.json()["version"] == version
        seen[version] += 1
    note(", ".join(f"{version} {count}" for version, count in seen.items()) + f" of {REQUESTS}")
    for version, percent in wanted.items():
        share = percent / 100
        margin = DEVIATIONS * math.sqrt(REQUESTS * share * (1 - share))
        assert abs(seen[version] - REQUESTS * share) <= margin


def test_every_pod_has_app_and_version() -> None:
    for pod in get("pods")["items"]:
        missing = {"app", "version"} - set(pod["metadata"]["labels"])
        assert not missing, pod["metadata"]["name"]


def test_trace_headers_arrive_at_the_far_end(person: httpx.Client) -> None:
    trace = uuid.uuid4().hex
    headers = {"traceparent": f"00-{trace}-{uuid.uuid4().hex[:16]}-01"}
    # The rule service itself says in its problem which trace the request is part of.
    answer = person.put("/api/rule", json={"key": uuid.uuid4().hex, "name": "nothing"}, headers=headers)
    assert answer.status_code == 404
    assert answered_by(answer, "rule")
    assert answer.json()["traceId"] == trace


def test_jaeger_has_one_trace_for_the_whole_chain(person: httpx.Client, note: Note) -> None:
    if not exists("service/tracing", namespace="istio-system"):
        pytest.skip("Jaeger is missing: `make install-kiali` installs it")
    trace = uuid.uuid4().hex
    person.get("/api/rule", headers={"traceparent": f"00-{trace}-{uuid.uuid4().hex[:16]}-01"})
    path = f"/api/v1/namespaces/istio-system/services/tracing:80/proxy/jaeger/api/traces/{trace}"

    def services() -> set[str]:
        text = kubectl("get", "--raw", path, check=False)
        found = {"todolist", "rule"} & {name for name in ("todolist", "rule") if f"{name}.{NAMESPACE}" in text}
        return found if found == {"todolist", "rule"} else set()

    note(", ".join(sorted(eventually(services, seconds=60))))


def asleep() -> bool:
    """Say whether no pod of user and rule is left."""
    return not get("pods", "--selector=app in (user, rule)")["items"]


@pytest.mark.usefixtures("on_knative")
@pytest.mark.timeout(600)
def test_user_and_rule_scale_to_zero_and_back(guest: httpx.Client, note: Note) -> None:
    if exists("deployment/traffic"):
        pytest.skip("`make traffic` keeps them awake: `make traffic-stop` first")
    eventually(asleep, seconds=UNTIL_ZERO, interval=5)
    for name, path in (("user", "/api/currentUser"), ("rule", "/api/rule")):
        started = time.monotonic()
        answer = guest.get(path)
        assert answer.status_code == 200, answer.text
        note(f"{name} answered after {1000 * (time.monotonic() - started):.0f} ms")


def edges(graph: Any) -> set[tuple[str, str]]:
    """Return the edges between the nodes of Kiali's graph, by name and version."""
    names = {}
    for node in graph["elements"]["nodes"]:
        data = node["data"]
        if data["namespace"] == "knative-serving":
            name = "knative"
        elif data["nodeType"] == "service":
            # A request that reached no pod: Kiali knows only whom it was meant for.
            name = f"service {data['service']}"
        else:
            name = data.get("app") or data.get("workload") or data["nodeType"]
        if name == "user":
            # On Knative the version is the revision, user-v1: its webhook sets the label that Istio reports.
            name = f"user {data.get('version', '').removeprefix('user-')}"
        names[data["id"]] = name
    return {(names[edge["data"]["source"]], names[edge["data"]["target"]]) for edge in graph["elements"]["edges"]}


@pytest.mark.timeout(300)
def test_kiali_shows_the_topology_and_nothing_else(ingress: Any, knative: bool, note: Note) -> None:
    if not exists("deployment/kiali", namespace="istio-system"):
        pytest.skip("Kiali is missing: `make install-kiali` installs it")
    path = (
        "/api/v1/namespaces/istio-system/services/kiali:20001/proxy/kiali/api/namespaces/graph"
        f"?namespaces={NAMESPACE}&graphType=versionedApp&injectServiceNodes=false&duration=120s"
    )
    gateway = "istio-ingressgateway" if knative else "ingress"
    expected = {
        (gateway, "todolist"),
        ("todolist", "user v1"),
        ("todolist", "user v2"),
        ("todolist", "rule"),
        ("user v1", "user-database"),
        ("user v2", "user-database"),
        ("rule", "rule-database"),
    }

    def shown() -> set[tuple[str, str]]:
        # New people, because a profile that was just read may not be asked for again.
        with ingress() as client:
            account = {"userName": f"verify-{uuid.uuid4().hex[:8]}", "password": uuid.uuid4().hex}
            client.post("/user/register", json=account)
            for _ in range(5):
                client.get("/api/currentUser")
                client.get("/api/rule")
        found = edges(json.loads(kubectl("get", "--raw", path)))
        if knative:
            # Knative's activator wakes services up, its autoscaler asks each pod for metrics, and its
            # gateway probes new routes.
            found = {edge for edge in found if "knative" not in edge and edge[0] != gateway} | (
                found & {(gateway, "todolist")}
            )
        return found

    # An edge appears with the second request, and what other tests did leaves the graph after two minutes.
    deadline = time.monotonic() + 240
    while (found := shown()) != expected and time.monotonic() < deadline:
        time.sleep(10)
    assert found == expected
    note(f"{len(found)} edges")
