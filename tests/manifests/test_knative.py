"""What only Knative asks for."""

from copy import deepcopy

from tests.manifests.conftest import Document, container, labels, named, of_kind

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


def test_the_second_step_only_adds_the_second_revision(knative_v1: list[Document], knative: list[Document]) -> None:
    changed = [(a, b) for a, b in zip(deepcopy(knative_v1), deepcopy(knative), strict=True) if a != b]
    assert [first["metadata"]["name"] for first, _ in changed] == ["user"]
    first, second = changed[0]
    assert [entry["revisionName"] for entry in first["spec"]["traffic"]] == ["user-v1"]
    assert [entry["revisionName"] for entry in second["spec"]["traffic"]] == ["user-v1", "user-v2"]
    for step, version in ((first, "v1"), (second, "v2")):
        assert step["spec"]["template"]["metadata"]["name"] == f"user-{version}"
        assert labels(step)["version"] == version
        step["spec"]["template"]["metadata"].pop("name")
        labels(step).pop("version")
        step["spec"].pop("traffic")
        assert container(step)["env"].pop(0) == {"name": "VERSION", "value": version}
    assert first == second


def test_nothing_that_knative_refuses_by_default(knative: list[Document]) -> None:
    for service in of_kind(knative, "KService"):
        pod = service["spec"]["template"]["spec"]
        refused = {"securityContext", "initContainers", "topologySpreadConstraints", "affinity", "nodeSelector"}
        assert not refused & set(pod), service["metadata"]["name"]
        for volume in pod.get("volumes", []):
            assert set(volume) - {"name"} <= {"secret", "configMap", "emptyDir", "projected"}
        for entry in container(service)["env"]:
            assert "fieldRef" not in entry.get("valueFrom", {})
        # Without a period Knative probes every few milliseconds until the pod is ready.
        assert set(container(service)["readinessProbe"]) == {"httpGet"}
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
    (namespace,) = of_kind(knative, "Namespace")
    headers = {condition["key"]: condition["values"] for condition in rule["when"]}
    assert headers["request.headers[knative-serving-namespace]"] == [namespace["metadata"]["name"]]
    private = [s["metadata"]["name"] for s in of_kind(knative, "KService") if CLUSTER_LOCAL in s["metadata"]["labels"]]
    assert sorted(headers["request.headers[knative-serving-revision]"]) == sorted(f"{name}-*" for name in private)
