"""What only Knative asks for."""

import re
from typing import get_args

import yaml

from services.rule.outbox import EventType
from services.user import schemas
from tests.manifests.conftest import DEPLOY, Document, container, named, of_kind

CLUSTER_LOCAL = "networking.knative.dev/visibility"
MIN_SCALE = "autoscaling.knative.dev/min-scale"


def test_only_todolist_is_public_and_never_scales_to_zero(knative: list[Document]) -> None:
    for service in of_kind(knative, "KService"):
        public = service["metadata"]["name"] == "todolist"
        annotations = service["spec"]["template"]["metadata"]["annotations"]
        assert (CLUSTER_LOCAL in service["metadata"]["labels"]) is not public
        assert annotations.get(MIN_SCALE) == ("1" if public else None)
        # Scraping would keep a service awake.
        assert not any("prometheus" in key for key in annotations)


def test_no_field_that_knative_rejects_by_default(knative: list[Document]) -> None:
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


def test_the_upstream_timeout_fits_a_cold_start(knative: list[Document]) -> None:
    todolist = named(knative, "KService", "todolist")
    (timeout,) = [entry["value"] for entry in container(todolist)["env"] if entry["name"] == "UPSTREAM_TIMEOUT"]
    for service in of_kind(knative, "KService"):
        assert float(timeout) < service["spec"]["template"]["spec"]["timeoutSeconds"]


def test_the_activator_authorizes_clients(activator: list[Document], knative: list[Document]) -> None:
    (policy,) = activator
    assert policy["metadata"]["namespace"] == "knative-serving"
    assert policy["spec"]["action"] == "DENY"
    callers, events = policy["spec"]["rules"]
    brought_by = {"todolist/rule", "knative-eventing/mt-broker-filter"}
    assert set(callers["from"][0]["source"]["notServiceAccounts"]) == {"todolist/todolist"} | brought_by
    assert set(events["from"][0]["source"]["serviceAccounts"]) == brought_by
    assert [rule["to"][0]["operation"]["notPaths"] for rule in (callers, events)] == [
        ["/healthz"],
        ["/healthz", "/events"],
    ]
    (namespace,) = of_kind(knative, "Namespace")
    private = [s["metadata"]["name"] for s in of_kind(knative, "KService") if CLUSTER_LOCAL in s["metadata"]["labels"]]
    for rule in (callers, events):
        # Without ports istiod would take it for all of TCP.
        assert [entry["operation"]["ports"] for entry in rule["to"]] == [["8012", "8013"]]
        headers = {condition["key"]: condition["values"] for condition in rule["when"]}
        assert headers["request.headers[knative-serving-namespace]"] == [namespace["metadata"]["name"]]
        assert sorted(headers["request.headers[knative-serving-revision]"]) == sorted(f"{name}-*" for name in private)


def test_the_trigger_matches_the_types_of_user_and_of_the_laptop(knative: list[Document]) -> None:
    (trigger,) = of_kind(knative, "Trigger")
    assert trigger["spec"]["broker"] == named(knative, "Broker", "events")["metadata"]["name"]
    subscriber = trigger["spec"]["subscriber"]
    assert (subscriber["ref"]["name"], subscriber["uri"]) == ("user", "/events")
    named(knative, "KService", subscriber["ref"]["name"])
    (filters,) = trigger["spec"]["filters"]
    types = [each["exact"]["type"] for each in filters["any"]]
    assert types == list(EventType)
    assert sorted(types) == sorted(get_args(schemas.EventType))
    (file,) = yaml.safe_load((DEPLOY / "local/envoy/events-routes.yaml").read_text())["resources"]
    match = file["virtual_hosts"][0]["routes"][0]["match"]["headers"][0]
    assert match["name"] == "ce-type"
    pattern = match["string_match"]["safe_regex"]["regex"]
    assert all(re.fullmatch(pattern, each) for each in types)
    assert not re.fullmatch(pattern, "todolist.item.archived")
