"""Ambient mode: what guards the pods also holds without a waypoint, and for Prometheus."""

import json

import httpx
import pytest

from deploy.lessons.cluster import Cluster
from tests.cluster.conftest import eventually, exists, kubectl, pods

pytestmark = pytest.mark.usefixtures("on_ambient")
CLIENT = """
import sys, urllib.error, urllib.request
for url in sys.argv[1:]:
    try:
        print(urllib.request.urlopen(url, timeout=5).status)
    except urllib.error.HTTPError as error:
        print(error.code)
    except OSError:
        print("closed")
"""


@pytest.mark.timeout(600)
def test_without_a_waypoint_nobody_gets_in(guest: httpx.Client) -> None:
    cluster = Cluster.find()
    with cluster.stranger(in_mesh=True) as inside, cluster.stranger() as outside:
        kubectl("delete", "gateway/waypoint")
        eventually(lambda: not pods("app=waypoint"))
        try:
            # todolist is no exception, and so the page has no answer.
            eventually(lambda: guest.get("/").status_code == 503)
            for stranger in (inside, outside):
                eventually(lambda who=stranger: all(who.reaches() == [] for _ in range(3)))
        finally:
            cluster.reset()
    eventually(lambda: all(guest.get("/api/currentUser").status_code == 200 for _ in range(20)))


@pytest.mark.timeout(300)
def test_prometheus_may_ask_for_metrics_and_for_nothing_else() -> None:
    if not exists("serviceaccount/prometheus", namespace="istio-system"):
        pytest.skip("Prometheus is missing: `make install-kiali` installs it")
    (pod, *_) = pods("app=rule")
    urls = [f"http://{pod['status']['podIP']}:3000{path}" for path in ("/metrics", "/api/rule")]
    container = {
        "name": "prometheus",
        "image": pod["spec"]["containers"][0]["image"],
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-c", "import time; time.sleep(3600)"],
    }
    impostor = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "todolist-test-prometheus", "labels": {"istio.io/dataplane-mode": "ambient"}},
        "spec": {"serviceAccountName": "prometheus", "containers": [container]},
    }
    kubectl("apply", "--filename=-", stdin=json.dumps(impostor), namespace="istio-system")
    try:
        kubectl("wait", "pod/todolist-test-prometheus", "--for=condition=Ready", namespace="istio-system")
        ask = ("exec", "todolist-test-prometheus", "--", "python", "-c", CLIENT, *urls)
        eventually(lambda: kubectl(*ask, namespace="istio-system").split() == ["200", "403"], 60)
    finally:
        kubectl("delete", "pod/todolist-test-prometheus", "--grace-period=1", namespace="istio-system")
