"""Routing and security: all references exist, and nothing is open by accident."""

from typing import Any

import pytest
import yaml

from tests.manifests.conftest import (
    CUSTOMIZED,
    DEPLOY,
    Document,
    container,
    labels,
    name_of,
    named,
    of_kind,
    workloads,
)

PERCENT = 100
ALLOWED = {"user": ["todolist", "rule"], "rule": ["todolist"], "user-database": ["user"], "rule-database": ["rule"]}
# Service accounts of others: Istio's Gateways, Knative's gateway and broker, Prometheus.
FOREIGN = {
    "ingress-istio",
    "waypoint",
    "istio-system/istio-ingressgateway-service-account",
    "istio-system/prometheus",
    "knative-eventing/mt-broker-filter",
}


def test_every_service_selects_pods(app: list[Document]) -> None:
    for service in of_kind(app, "Service"):
        wanted = service["spec"]["selector"].items()
        pods = [workload for workload in workloads(app) if wanted <= labels(workload).items()]
        assert pods, name_of(service)
        for port in service["spec"]["ports"]:
            assert port["name"] in {"http", "tcp-postgres"}, name_of(service)
            for pod in pods:
                assert port["targetPort"] in {own["name"] for own in container(pod)["ports"]}, name_of(service)


def test_every_selector_selects_pods(app: list[Document]) -> None:
    for policy in of_kind(app, "AuthorizationPolicy", "NetworkPolicy"):
        wanted = policy["spec"].get("selector", {}).get("matchLabels", {}).items()
        assert any(wanted <= labels(workload).items() for workload in workloads(app)), name_of(policy)


def callers(policy: Document) -> list[tuple[str, bool]]:
    """Return the clients that a policy allows, and whether it limits paths or ports."""
    return [
        (name, bool(rule.get("to")))
        for rule in policy["spec"]["rules"]
        for entry in rule.get("from", [{"source": {"serviceAccounts": ["anybody"]}}])
        for names in entry["source"].values()
        for name in names
    ]


@pytest.mark.parametrize(
    ("called", "expected"),
    [
        ("user", [("todolist", False), ("rule", True)]),
        ("rule", [("todolist", False)]),
        ("user-database", [("user", True)]),
        ("rule-database", [("rule", True)]),
    ],
)
def test_only_the_expected_callers_are_allowed(
    called: str, expected: list[tuple[str, bool]], istio: list[Document], knative: list[Document]
) -> None:
    platform = [] if called.endswith("-database") else [("knative-serving", False), ("istio-system", True)]
    if called == "user":
        platform.insert(0, ("knative-eventing/mt-broker-filter", True))
    assert callers(named(istio, "AuthorizationPolicy", called)) == expected
    assert callers(named(knative, "AuthorizationPolicy", called)) == expected + platform


def test_rule_may_only_post_events_to_user(app: list[Document]) -> None:
    rules = named(app, "AuthorizationPolicy", "user")["spec"]["rules"]
    (rule,) = [rule for rule in rules if "rule" in rule["from"][0]["source"].get("serviceAccounts", [])]
    assert rule["to"] == [{"operation": {"methods": ["POST"], "paths": ["/events"]}}]


def test_the_sink_of_rule_accepts_its_events(
    istio: list[Document], ambient: list[Document], knative: list[Document], deploy_sh: Any
) -> None:
    def sink(documents: list[Document], kind: str = "KService") -> str:
        (url,) = [
            each["value"] for each in container(named(documents, kind, "rule"))["env"] if each["name"] == "K_SINK"
        ]
        return str(url)

    direct = "http://user.todolist.svc.cluster.local/events"
    assert sink(istio, "Deployment") == sink(ambient, "Deployment") == direct
    broker = named(knative, "Broker", "events")["metadata"]
    ingress = "http://broker-ingress.knative-eventing.svc.cluster.local"
    assert sink(knative) == f"{ingress}/{broker['namespace']}/{broker['name']}"

    # In another namespace, and on Knative without its Eventing.
    direct = direct.replace("todolist", "other")
    for target in ("istio", "ambient"):
        assert sink(deploy_sh("render", target, **CUSTOMIZED), "Deployment") == direct
    assert sink(deploy_sh("render", "knative", **CUSTOMIZED)) == f"{ingress}/other/events"
    documents = deploy_sh("render", "knative", NAMESPACE="other", EVENTING="no")
    assert sink(documents) == direct
    assert not of_kind(documents, "Broker", "Trigger")


def test_the_ingress_is_the_only_entry(istio: list[Document], knative: list[Document]) -> None:
    assert callers(named(istio, "AuthorizationPolicy", "todolist")) == [("ingress-istio", False)]
    assert callers(named(knative, "AuthorizationPolicy", "todolist")) == [
        ("istio-system/istio-ingressgateway-service-account", False),
        ("knative-serving", False),
    ]
    gateway = named(istio, "Gateway", "ingress")
    policy = named(istio, "AuthorizationPolicy", "ingress")["spec"]
    assert [target["name"] for target in policy["targetRefs"]] == [gateway["metadata"]["name"]]
    ports = [str(listener["port"]) for listener in gateway["spec"]["listeners"]]
    assert policy["rules"] == [{"to": [{"operation": {"ports": ports}}]}]


def test_service_accounts_in_policies_exist(app: list[Document]) -> None:
    accounts = {account["metadata"]["name"] for account in of_kind(app, "ServiceAccount")} | FOREIGN
    for workload in workloads(app):
        assert workload["spec"]["template"]["spec"]["serviceAccountName"] in accounts, name_of(workload)
    for policy in of_kind(app, "AuthorizationPolicy"):
        for rule in policy["spec"].get("rules", []):
            for entry in rule.get("from", []):
                assert set(entry["source"].get("serviceAccounts", [])) <= accounts, name_of(policy)


def test_database_policies_name_the_port(app: list[Document]) -> None:
    for workload in of_kind(app, "StatefulSet"):
        policy = named(app, "AuthorizationPolicy", workload["metadata"]["name"])
        ports = [str(port["containerPort"]) for port in container(workload)["ports"]]
        assert [rule["to"] for rule in policy["spec"]["rules"]] == [[{"operation": {"ports": ports}}]]


def test_subsets_and_services_of_routes_exist(istio: list[Document]) -> None:
    known = {service["metadata"]["name"] for service in of_kind(istio, "Service")}
    subsets = {
        rule["spec"]["host"]: {subset["name"]: subset["labels"] for subset in rule["spec"].get("subsets", [])}
        for rule in of_kind(istio, "DestinationRule")
    }
    assert set(subsets) <= known
    for route in of_kind(istio, "VirtualService"):
        assert set(route["spec"]["hosts"]) <= known
        for http in route["spec"]["http"]:
            for entry in http["route"]:
                destination = entry["destination"]
                assert destination["host"] in known
                if "subset" in destination:
                    wanted = subsets[destination["host"]][destination["subset"]].items()
                    assert any(wanted <= labels(workload).items() for workload in workloads(istio))
    (http_route,) = of_kind(istio, "HTTPRoute")
    gateway = named(istio, "Gateway", http_route["spec"]["parentRefs"][0]["name"])
    listeners = {listener["name"] for listener in gateway["spec"]["listeners"]}
    assert {parent["sectionName"] for parent in http_route["spec"]["parentRefs"]} <= listeners
    for rule in http_route["spec"]["rules"]:
        for backend in rule["backendRefs"]:
            ports = {port["port"] for port in named(istio, "Service", backend["name"])["spec"]["ports"]}
            assert backend["port"] in ports


def test_each_service_ejects_failing_pods(istio: list[Document]) -> None:
    rules = {rule["spec"]["host"]: rule["spec"] for rule in of_kind(istio, "DestinationRule")}
    assert set(rules) == {"todolist", "user", "rule"}
    for rule in rules.values():
        outliers = rule["trafficPolicy"]["outlierDetection"]
        # By local-origin failures, and not by responses, which may be relayed or deliberate: tests/ingress.
        assert outliers["splitExternalLocalOriginErrors"]
        assert outliers["consecutiveLocalOriginFailures"] > 0
        assert outliers["consecutive5xxErrors"] == 0
        # Together: some pods can be ejected, and never so many that the panic threshold is reached.
        assert 0 < outliers["minHealthPercent"] <= PERCENT - outliers["maxEjectionPercent"] < PERCENT
        pool = rule["trafficPolicy"]["connectionPool"]
        assert pool["tcp"]["maxConnections"] > 0
        assert pool["http"]["http1MaxPendingRequests"] > 0


def test_traces_have_a_provider_that_the_mesh_knows(app: list[Document]) -> None:
    mesh_config = yaml.safe_load((DEPLOY / "install" / "istio.yaml").read_text())["spec"]["meshConfig"]
    (telemetry,) = of_kind(app, "Telemetry")
    known = {provider["name"] for provider in mesh_config["extensionProviders"]}
    for tracing in telemetry["spec"]["tracing"]:
        assert {provider["name"] for provider in tracing["providers"]} <= known
        assert tracing["randomSamplingPercentage"] > 0


def test_network_policies_allow_what_the_authorization_policies_allow(customized: list[Document]) -> None:
    policies = {policy["metadata"]["name"]: policy["spec"] for policy in of_kind(customized, "NetworkPolicy")}
    assert policies["deny-by-default"]["podSelector"] == {}
    assert "ingress" not in policies["deny-by-default"]
    for called, names in ALLOWED.items():
        assert policies[called]["podSelector"]["matchLabels"] == {"app": called}
        (rule,) = policies[called]["ingress"]
        assert rule["from"] == [{"podSelector": {"matchLabels": {"app": caller}}} for caller in names]
