"""What only Knative asks for."""

from tests.manifests.conftest import Document, container, named, of_kind

CLUSTER_LOCAL = "networking.knative.dev/visibility"
MIN_SCALE = "autoscaling.knative.dev/min-scale"


def test_only_todolist_is_public_and_always_there(knative: list[Document]) -> None:
    for service in of_kind(knative, "KService"):
        public = service["metadata"]["name"] == "todolist"
        annotations = service["spec"]["template"]["metadata"]["annotations"]
        assert (CLUSTER_LOCAL in service["metadata"]["labels"]) is not public
        assert annotations.get(MIN_SCALE) == ("1" if public else None)


def test_nothing_that_scrapes_keeps_a_service_awake(knative: list[Document]) -> None:
    for service in of_kind(knative, "KService"):
        assert not any("prometheus" in key for key in service["spec"]["template"]["metadata"]["annotations"])


def test_nothing_that_knative_refuses_by_default(knative: list[Document]) -> None:
    for service in of_kind(knative, "KService"):
        pod = service["spec"]["template"]["spec"]
        refused = {"securityContext", "initContainers", "topologySpreadConstraints", "affinity", "nodeSelector"}
        assert not refused & set(pod), service["metadata"]["name"]
        for volume in pod.get("volumes", []):
            assert set(volume) - {"name"} <= {"secret", "configMap", "emptyDir", "projected"}
        for entry in container(service)["env"]:
            assert "fieldRef" not in entry.get("valueFrom", {})
        # Without a period Knative probes every 50 ms. The threshold is its default: a set applied again stays the same.
        assert set(container(service)["readinessProbe"]) == {"httpGet", "successThreshold"}
        assert [port["name"] for port in container(service)["ports"]] == ["http1"]


def test_waiting_is_longer_than_a_cold_start_and_shorter_than_knative_allows(knative: list[Document]) -> None:
    todolist = named(knative, "KService", "todolist")
    (timeout,) = [entry["value"] for entry in container(todolist)["env"] if entry["name"] == "UPSTREAM_TIMEOUT"]
    for service in of_kind(knative, "KService"):
        assert float(timeout) < service["spec"]["template"]["spec"]["timeoutSeconds"]


def test_the_activator_asks_who_calls(activator: list[Document], knative: list[Document]) -> None:
    (policy,) = activator
    assert policy["metadata"]["namespace"] == "knative-serving"
    assert policy["spec"]["action"] == "DENY"
    (rule,) = policy["spec"]["rules"]
    # Without ports istiod would take it for all of TCP.
    assert [entry["operation"]["ports"] for entry in rule["to"]] == [["8012", "8013"]]
    (namespace,) = of_kind(knative, "Namespace")
    headers = {condition["key"]: condition["values"] for condition in rule["when"]}
    assert headers["request.headers[knative-serving-namespace]"] == [namespace["metadata"]["name"]]
    private = [s["metadata"]["name"] for s in of_kind(knative, "KService") if CLUSTER_LOCAL in s["metadata"]["labels"]]
    assert sorted(headers["request.headers[knative-serving-revision]"]) == sorted(f"{name}-*" for name in private)
