"""The page and the API through the ingress, sessions at the proxy, Kiali's graph."""

import json
import time
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.cluster.conftest import NAMESPACE, answered_by, eventually, exists, kubectl

Note = Callable[[str], None]


def test_page_and_api_answer_through_the_ingress(guest: httpx.Client, person: httpx.Client) -> None:
    page = guest.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert guest.get("/api/currentUser").json()["userid"]
    assert person.post("/api/rule", json={"name": "milk"}).status_code == 201
    assert [entry["name"] for entry in person.get("/api/rule").json()["data"]] == ["milk"]


def test_a_change_becomes_a_notice(person: httpx.Client, note: Note) -> None:
    name = uuid.uuid4().hex
    assert person.post("/api/rule", json={"name": name}).status_code == 201
    notice = eventually(lambda: next(iter(person.get("/api/notices").json()), None))
    assert (notice["title"], notice["event"]["source"]) == (name, "/rule")
    note(f"after {notice['event']['seconds']:.1f} s, by {notice['event']['takenBy']}")


def test_trace_headers_are_propagated_to_the_last_service(person: httpx.Client) -> None:
    trace = uuid.uuid4().hex
    headers = {"traceparent": f"00-{trace}-{uuid.uuid4().hex[:16]}-01"}
    # The problem of the rule service contains the trace id.
    answer = person.put("/api/rule", json={"key": uuid.uuid4().hex, "name": "nothing"}, headers=headers)
    assert answer.status_code == 404
    assert answered_by(answer, "rule")
    assert answer.json()["traceId"] == trace


def test_a_forged_session_is_rejected_at_the_proxy(guest: httpx.Client, person: httpx.Client) -> None:
    if not exists("requestauthentications.security.istio.io/todolist"):
        pytest.skip("`make deploy REQUEST_AUTHENTICATION=1` lets the sidecar check sessions")
    assert person.get("/api/rule").status_code == 200
    token = person.cookies["jwtToken"]
    forged = guest.get("/api/rule", headers={"cookie": f"jwtToken={token[:-8]}AAAAAAAA"})
    # A local reply of the sidecar: todolist, which would have served a guest, did not receive the request.
    assert (forged.status_code, "x-served-by" in forged.headers) == (401, False)
    refused = guest.get("/api/users")
    assert (refused.status_code, "x-served-by" in refused.headers) == (403, False)


@pytest.mark.timeout(180)
@pytest.mark.usefixtures("not_on_knative")
def test_prometheus_reads_the_metrics_of_each_service() -> None:
    if not exists("deployment/prometheus", namespace="istio-system"):
        pytest.skip("Prometheus is missing: `make install-kiali` installs it")
    query = quote(f'count by (app, version) (http_request_duration_seconds_count{{namespace="{NAMESPACE}"}})')
    path = f"/api/v1/namespaces/istio-system/services/prometheus:9090/proxy/api/v1/query?query={query}"

    def counted() -> set[tuple[str, str]]:
        result = json.loads(kubectl("get", "--raw", path))["data"]["result"]
        return {(one["metric"]["app"], one["metric"]["version"]) for one in result}

    eventually(lambda: counted() == {("todolist", "v1"), ("user", "v1"), ("user", "v2"), ("rule", "v1")}, 120)


def edges(graph: Any) -> set[tuple[str, str]]:
    """Return the edges between the nodes of Kiali's graph, by name and version."""
    names = {}
    for node in graph["elements"]["nodes"]:
        data = node["data"]
        if data["namespace"] == "knative-serving":
            name = "knative"
        elif data["nodeType"] == "service":
            # A request that reached no pod: Kiali knows only its destination Service.
            name = f"service {data['service']}"
        else:
            name = data.get("app") or data.get("workload") or data["nodeType"]
        if name == "ingress-istio":
            # A waypoint may know the gateway only by its service account.
            name = "ingress"
        if name == "user":
            # On Knative the version is the revision, user-v1: its webhook sets the label that Istio reports.
            name = f"user {data.get('version', '').removeprefix('user-')}"
        names[data["id"]] = name
    return {(names[edge["data"]["source"]], names[edge["data"]["target"]]) for edge in graph["elements"]["edges"]}


@pytest.mark.timeout(300)
def test_kiali_shows_exactly_the_topology(ingress: Any, knative: bool, ambient: bool, note: Note) -> None:
    if not exists("deployment/kiali", namespace="istio-system"):
        pytest.skip("Kiali is missing: `make install-kiali` installs it")
    path = (
        "/api/v1/namespaces/istio-system/services/kiali:20001/proxy/kiali/api/namespaces/graph"
        f"?namespaces={NAMESPACE}&graphType=versionedApp&injectServiceNodes=false&duration=120s"
    )
    gateway = "istio-ingressgateway" if knative else "ingress"
    expected = {(gateway, "todolist"), ("todolist", "rule"), ("rule", "rule-database")}
    for user in ("user v1", "user v2"):
        expected |= {("todolist", user), (user, "user-database")}
    if ambient:
        # Besides each call, its path. Between todolist and the waypoint there is one edge for both directions.
        expected |= {(caller, "waypoint") for caller in ("ingress", "todolist")}
        expected |= {("waypoint", called) for called in ("user v1", "user v2", "rule")}

    def shown() -> set[tuple[str, str]]:
        # New clients, because a profile that was just read may be cached.
        with ingress() as client:
            account = {"userName": f"verify-{uuid.uuid4().hex[:8]}", "password": uuid.uuid4().hex}
            client.post("/user/register", json=account)
            for _ in range(5):
                client.get("/api/currentUser")
                client.get("/api/rule")
        found = edges(json.loads(kubectl("get", "--raw", path)))
        if knative:
            # Knative's activator forwards requests, its autoscaler scrapes each pod, and its
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
