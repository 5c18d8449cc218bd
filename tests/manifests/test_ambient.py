"""Ambient mode: every call to a service passes the waypoint; that pods accept no other client is in tests/cluster."""

import pytest

from tests.manifests.conftest import Document, labels, named, of_kind, services

USE, FOR = "istio.io/use-waypoint", "istio.io/waypoint-for"


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
