"""Routing and security: all references exist, and nothing is open by accident."""

from typing import Any

import yaml

from tests.manifests.conftest import (
    DEPLOY,
    Document,
    below,
    container,
    labels,
    name_of,
    named,
    of_kind,
    services,
    workloads,
)

PERCENT = 100
# Who may call what, and which part of it: None for all.
EVENTS = {"methods": ["POST"], "paths": ["/events"]}
ALLOWED: dict[str, list[tuple[str, Document | None]]] = {
    "user": [("todolist", None), ("rule", EVENTS)],
    "rule": [("todolist", None)],
    "user-database": [("user", {"ports": ["5432"]})],
    "rule-database": [("rule", {"ports": ["5432"]})],
}
# The waypoint limits the methods, too.
ALLOWED_IN_AMBIENT = {**ALLOWED, "rule": [("todolist", {"methods": ["GET", "HEAD", "POST", "PUT", "DELETE"]})]}
ON_KNATIVE: list[tuple[str, Document | None]] = [
    ("knative-serving", None),
    ("istio-system", {"methods": ["GET"], "paths": ["/healthz"]}),
]
# Service accounts of others: Istio's Gateways, Knative's gateway and broker, Prometheus.
FOREIGN = {
    "ingress-istio",
    "waypoint",
    "istio-system/istio-ingressgateway-service-account",
    "istio-system/prometheus",
    "knative-eventing/mt-broker-filter",
}


def test_every_selector_selects_pods(app: list[Document]) -> None:
    def selected(wanted: dict[str, str]) -> list[Document]:
        return [workload for workload in workloads(app) if wanted.items() <= labels(workload).items()]

    for policy in of_kind(app, "AuthorizationPolicy", "NetworkPolicy"):
        assert selected(policy["spec"].get("selector", {}).get("matchLabels", {})), name_of(policy)
    for service in of_kind(app, "Service"):
        pods = selected(service["spec"]["selector"])
        assert pods, name_of(service)
        for port in service["spec"]["ports"]:
            # Istio takes the protocol from the name.
            assert port["name"] in {"http", "tcp-postgres"}, name_of(service)
            for pod in pods:
                assert port["targetPort"] in {own["name"] for own in container(pod)["ports"]}, name_of(service)


def callers(documents: list[Document], called: str) -> list[tuple[str, Document | None]]:
    """Return the clients that the policy of a workload allows, and to what it limits each."""
    return [
        (name, rule["to"][0]["operation"] if "to" in rule else None)
        for rule in named(documents, "AuthorizationPolicy", called)["spec"]["rules"]
        for entry in rule["from"]
        for names in entry["source"].values()
        for name in names
    ]


def test_only_the_expected_callers_are_allowed(
    istio: list[Document], ambient: list[Document], knative: list[Document]
) -> None:
    assert {called: callers(istio, called) for called in ALLOWED} == ALLOWED
    assert {called: callers(ambient, called) for called in ALLOWED} == ALLOWED_IN_AMBIENT
    broker = ("knative-eventing/mt-broker-filter", EVENTS)
    assert {called: callers(knative, called) for called in ALLOWED} == {
        **ALLOWED,
        "user": [*ALLOWED["user"], broker, *ON_KNATIVE],
        "rule": [*ALLOWED["rule"], *ON_KNATIVE],
    }
    # The ingress is the only entry.
    assert callers(istio, "todolist") == callers(ambient, "todolist") == [("ingress-istio", None)]
    gateway = "istio-system/istio-ingressgateway-service-account"
    assert callers(knative, "todolist") == [(gateway, None), ("knative-serving", None)]
    policy = named(istio, "AuthorizationPolicy", "ingress")["spec"]
    gateway = named(istio, "Gateway", policy["targetRefs"][0]["name"])
    ports = [str(listener["port"]) for listener in gateway["spec"]["listeners"]]
    assert policy["rules"] == [{"to": [{"operation": {"ports": ports}}]}]


def test_network_policies_allow_what_the_authorization_policies_allow(customized: list[Document]) -> None:
    policies = {policy["metadata"]["name"]: policy["spec"] for policy in of_kind(customized, "NetworkPolicy")}
    assert policies["deny-by-default"]["podSelector"] == {}
    assert "ingress" not in policies["deny-by-default"]
    for called, callers in ALLOWED.items():
        assert policies[called]["podSelector"]["matchLabels"] == {"app": called}
        (rule,) = policies[called]["ingress"]
        assert rule["from"] == [{"podSelector": {"matchLabels": {"app": caller}}} for caller, _ in callers]


def test_service_accounts_in_policies_exist(app: list[Document]) -> None:
    accounts = {account["metadata"]["name"] for account in of_kind(app, "ServiceAccount")} | FOREIGN
    for workload in workloads(app):
        assert workload["spec"]["template"]["spec"]["serviceAccountName"] in accounts, name_of(workload)
    for policy in of_kind(app, "AuthorizationPolicy"):
        for rule in policy["spec"].get("rules", []):
            for entry in rule.get("from", []):
                assert set(entry["source"].get("serviceAccounts", [])) <= accounts, name_of(policy)


def test_the_sink_of_rule_accepts_its_events(knative: list[Document], deploy_sh: Any) -> None:
    def sink(target: str, **settings: str) -> Any:
        documents = deploy_sh("render", target, **settings)
        environment = container(named(documents, "KService" if target == "knative" else "Deployment", "rule"))["env"]
        return next(each["value"] for each in environment if each["name"] == "K_SINK")

    broker = named(knative, "Broker", "events")["metadata"]["name"]
    for namespace in ("todolist", "other"):
        direct = f"http://user.{namespace}.svc.cluster.local/events"
        for target in ("istio", "ambient"):
            assert sink(target, NAMESPACE=namespace) == direct
        ingress = "http://broker-ingress.knative-eventing.svc.cluster.local"
        assert sink("knative", NAMESPACE=namespace) == f"{ingress}/{namespace}/{broker}"
        assert sink("knative", NAMESPACE=namespace, EVENTING="no") == direct
    assert not of_kind(deploy_sh("render", "knative", EVENTING="no"), "Broker", "Trigger")


def test_hosts_backends_and_subsets_of_routes_exist(istio: list[Document], ambient: list[Document]) -> None:
    for documents in (istio, ambient):
        ports = {one["metadata"]["name"]: one["spec"]["ports"] for one in of_kind(documents, "Service")}
        rules = {rule["spec"]["host"]: rule["spec"] for rule in of_kind(documents, "DestinationRule")}
        assert set(rules) <= set(ports)
        subsets = {(host, each["name"]): each["labels"] for host in rules for each in rules[host].get("subsets", [])}
        for route in of_kind(documents, "VirtualService"):
            assert set(route["spec"]["hosts"]) <= set(ports)
            for destination in below(route["spec"]["http"], "destination"):
                assert destination["host"] in ports
                if "subset" in destination:
                    wanted = subsets[destination["host"], destination["subset"]].items()
                    assert any(wanted <= labels(workload).items() for workload in workloads(documents))
        for backends in below(of_kind(documents, "HTTPRoute"), "backendRefs"):
            for backend in backends:
                assert backend["port"] in {port["port"] for port in ports[backend["name"]]}
    (parent,) = named(istio, "HTTPRoute", "todolist")["spec"]["parentRefs"]
    listeners = named(istio, "Gateway", parent["name"])["spec"]["listeners"]
    assert parent["sectionName"] in {listener["name"] for listener in listeners}


def test_each_service_ejects_failing_pods(istio: list[Document], ambient: list[Document]) -> None:
    """In ambient mode as well: test_istio_and_ambient_differ_only_in_the_mesh."""
    hosts = {rule["spec"]["host"] for rule in of_kind(ambient, "DestinationRule")}
    assert hosts == {"todolist", "user-v1", "user-v2", "rule"}
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


# Ambient mode: every call to a service passes the waypoint; that pods accept no other client is in tests/cluster.


def test_services_use_the_waypoint_and_databases_do_not(ambient: list[Document]) -> None:
    # For calls to addresses of pods, too.
    assert named(ambient, "Gateway", "waypoint")["metadata"]["labels"]["istio.io/waypoint-for"] == "all"
    ours = {labels(workload)["app"] for workload in services(ambient)}
    for service in of_kind(ambient, "Service"):
        behind = "waypoint" if service["spec"]["selector"]["app"] in ours else None
        assert service["metadata"]["labels"].get("istio.io/use-waypoint") == behind
    for workload in services(ambient):
        assert labels(workload)["istio.io/use-waypoint"] == "waypoint"


def test_no_policy_for_ztunnel_has_l7_rules(ambient: list[Document]) -> None:
    for policy in of_kind(ambient, "AuthorizationPolicy"):
        if "targetRefs" not in policy["spec"]:
            for rule in policy["spec"].get("rules", []):
                assert {field for to in rule.get("to", []) for field in to["operation"]} <= {"ports"}
