"""Ambient mode: the pods are unreachable without a waypoint, and Prometheus may only read metrics."""

import httpx
import pytest

from lessons.runner.cluster import Cluster
from lessons.runner.stranger import Stranger
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
def test_without_a_waypoint_services_are_unreachable(deployed: Cluster, guest: httpx.Client) -> None:
    with deployed.stranger(in_mesh=True) as inside, deployed.stranger() as outside:
        kubectl("delete", "gateway/waypoint")
        eventually(lambda: not pods("app=waypoint"))
        try:
            # This includes todolist, and so the page.
            eventually(lambda: guest.get("/").status_code == 503)
            for stranger in (inside, outside):
                eventually(lambda who=stranger: all(who.reaches() == [] for _ in range(3)))
        finally:
            # It applies the waypoint again, too.
            deployed.reset()
    eventually(lambda: all(guest.get("/api/currentUser").status_code == 200 for _ in range(20)))


@pytest.mark.timeout(300)
def test_prometheus_may_only_read_metrics(deployed: Cluster) -> None:
    if not exists("serviceaccount/prometheus", namespace="istio-system"):
        pytest.skip("Prometheus is missing: `make install-kiali` installs it")
    (pod, *_) = pods("app=rule")
    urls = [f"http://{pod['status']['podIP']}:3000{path}" for path in ("/metrics", "/api/rule")]
    # The policy looks only at the account.
    impostor = Stranger(deployed, "istio-system", "todolist-test-prometheus")
    try:
        impostor.start("prometheus", in_mesh=True)
        eventually(lambda: impostor.python(CLIENT, *urls).split() == ["200", "403"], 60)
    finally:
        impostor.remove()
