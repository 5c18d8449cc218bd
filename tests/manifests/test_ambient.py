"""Ambient mode: every call to a service passes the waypoint, and pods accept no other client."""

import pytest

from tests.manifests.conftest import Document, labels, named, of_kind, services
from tests.manifests.test_mesh import callers

USE, FOR = "istio.io/use-waypoint", "istio.io/waypoint-for"
READS = {"GET", "HEAD"}


@pytest.fixture
def waypoint(ambient: list[Document]) -> str:
    gateway = named(ambient, "Gateway", "waypoint")
    assert gateway["spec"]["gatewayClassName"] == "istio-waypoint"
    assert [(port["protocol"], port["port"]) for port in gateway["spec"]["listeners"]] == [("HBONE", 15008)]
    return str(gateway["metadata"]["name"])


def test_services_use_the_waypoint_and_databases_do_not(ambient: list[Document], waypoint: str) -> None:
    ours = {labels(workload)["app"] for workload in services(ambient)}
    for service in of_kind(ambient, "Service"):
        behind = waypoint if service["spec"]["selector"]["app"] in ours else None
        assert service["metadata"]["labels"].get(USE) == behind
    for workload in services(ambient):
        assert labels(workload)[USE] == waypoint
    # For calls to addresses of pods, too.
    assert named(ambient, "Gateway", waypoint)["metadata"]["labels"][FOR] == "all"


def test_the_ingress_uses_the_waypoint(ambient: list[Document]) -> None:
    assert named(ambient, "Service", "todolist")["metadata"]["labels"]["istio.io/ingress-use-waypoint"] == "true"


@pytest.mark.parametrize("service", ["todolist", "user", "rule"])
def test_pods_accept_only_the_waypoint(service: str, ambient: list[Document], waypoint: str) -> None:
    policy = named(ambient, "AuthorizationPolicy", f"{service}-pods")
    assert policy["spec"]["selector"]["matchLabels"] == {"app": service}
    assert callers(policy) == [(waypoint, False)]


@pytest.mark.parametrize(
    ("service", "caller", "methods"),
    [
        ("todolist", "ingress-istio", None),
        ("user", "todolist", READS | {"POST", "PUT"}),
        ("rule", "todolist", READS | {"POST", "PUT", "DELETE"}),
    ],
)
def test_the_waypoint_allows_one_caller_for_each_service(
    service: str, caller: str, methods: set[str] | None, ambient: list[Document]
) -> None:
    spec = named(ambient, "AuthorizationPolicy", service)["spec"]
    assert spec["targetRefs"] == [{"group": "", "kind": "Service", "name": service}]
    # The second one of user is that of rule, for events.
    rule, *_ = spec["rules"]
    assert len(spec["rules"]) == (2 if service == "user" else 1)
    assert rule["from"] == [{"source": {"serviceAccounts": [caller]}}]
    assert [set(to["operation"]["methods"]) for to in rule.get("to", [])] == ([methods] if methods else [])


def test_the_waypoint_denies_everything_else_except_metrics(ambient: list[Document], waypoint: str) -> None:
    spec = named(ambient, "AuthorizationPolicy", "waypoint")["spec"]
    assert [(target["kind"], target["name"]) for target in spec["targetRefs"]] == [("Gateway", waypoint)]
    assert spec["action"] == "ALLOW"
    assert [(rule["from"], rule["to"]) for rule in spec["rules"]] == [
        (
            [{"source": {"serviceAccounts": ["istio-system/prometheus"]}}],
            [{"operation": {"methods": ["GET"], "paths": ["/metrics"]}}],
        )
    ]


def test_no_policy_for_ztunnel_has_l7_rules(ambient: list[Document]) -> None:
    for policy in of_kind(ambient, "AuthorizationPolicy"):
        if "targetRefs" not in policy["spec"]:
            for rule in policy["spec"].get("rules", []):
                assert {field for to in rule.get("to", []) for field in to["operation"]} <= {"ports"}


def test_backends_of_routes_exist(ambient: list[Document]) -> None:
    known = {service["metadata"]["name"] for service in of_kind(ambient, "Service")}
    for route in of_kind(ambient, "HTTPRoute"):
        for rule in route["spec"]["rules"]:
            assert {backend["name"] for backend in rule["backendRefs"]} <= known
    assert {rule["spec"]["host"] for rule in of_kind(ambient, "DestinationRule")} == {
        "todolist",
        "user-v1",
        "user-v2",
        "rule",
    }
