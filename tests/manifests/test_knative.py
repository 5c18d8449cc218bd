"""What only Knative asks for."""

from typing import get_args

from services.rule.outbox import EventType
from services.user import schemas
from tests.manifests.conftest import DEPLOY, Document, container, load, named, of_kind
from tests.support import ROOT

# All revisions of user with a name of ours.
USERS = (*(DEPLOY / "knative").glob("user-v?.yaml"), *(ROOT / "lessons/15-roll-back").glob("knative*.yaml"))
CLUSTER_LOCAL = "networking.knative.dev/visibility"


def test_only_todolist_is_public_and_never_scales_to_zero(knative: list[Document]) -> None:
    for service in of_kind(knative, "KService"):
        public = service["metadata"]["name"] == "todolist"
        annotations = service["spec"]["template"]["metadata"]["annotations"]
        assert (CLUSTER_LOCAL in service["metadata"]["labels"]) is not public
        assert annotations.get("autoscaling.knative.dev/min-scale") == ("1" if public else None)
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
    environment = {each["name"]: each.get("value") for each in container(named(knative, "KService", "todolist"))["env"]}
    for service in of_kind(knative, "KService"):
        assert float(environment["UPSTREAM_TIMEOUT"]) < service["spec"]["template"]["spec"]["timeoutSeconds"]


def test_the_activator_authorizes_clients(knative: list[Document]) -> None:
    (policy,) = load(DEPLOY / "knative/activator.yaml")
    assert policy["spec"]["action"] == "DENY"
    by_headers, by_host = policy["spec"]["rules"][:2], policy["spec"]["rules"][2:]
    senders = {"todolist/rule", "knative-eventing/mt-broker-filter"}
    private = [s["metadata"]["name"] for s in of_kind(knative, "KService") if CLUSTER_LOCAL in s["metadata"]["labels"]]
    users = [each for file in USERS for each in of_kind(load(file), "KService")]
    named_ones = {f"{each['spec']['template']['metadata']['name']}.todolist.svc.*" for each in users}
    for callers, events in (by_headers, by_host):
        allowed = {*callers["from"][0]["source"]["notServiceAccounts"]} - {"knative-serving/controller"}
        assert allowed == {"todolist/todolist"} | senders
        assert set(events["from"][0]["source"]["serviceAccounts"]) == senders
        for rule, paths in ((callers, ["/healthz"]), (events, ["/healthz", "/events"])):
            (to,) = rule["to"]
            # Without ports istiod would take it for all of TCP.
            assert (to["operation"]["ports"], to["operation"]["notPaths"]) == (["8012", "8013"], paths)
    for rule in by_headers:
        headers = {condition["key"]: condition["values"] for condition in rule["when"]}
        assert headers["request.headers[knative-serving-namespace]"] == ["todolist", "todolist,*"]
        assert sorted(headers["request.headers[knative-serving-revision]"]) == sorted(f"{name}-*" for name in private)
    for rule in by_host:
        assert set(rule["to"][0]["operation"]["hosts"]) == named_ones | {"rule-0*", "user-v1-0*", "user-v2-0*"}


def test_the_trigger_matches_the_types_of_user(knative: list[Document]) -> None:
    """That of the laptop, too: tests/mesh."""
    (trigger,) = of_kind(knative, "Trigger")
    named(knative, "Broker", trigger["spec"]["broker"])
    subscriber = trigger["spec"]["subscriber"]
    assert subscriber["uri"] == "/events"
    named(knative, "KService", subscriber["ref"]["name"])
    (filters,) = trigger["spec"]["filters"]
    assert [each["exact"]["type"] for each in filters["any"]] == list(EventType)
    assert set(EventType) == set(get_args(schemas.EventType))
