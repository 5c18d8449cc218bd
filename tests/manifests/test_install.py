"""`make install-*`, `uninstall-*` and `cluster-delete`: their checks, and their changes."""

import json

import pytest

from tests.manifests.stand_in import ISTIO, NEWEST, OLDEST, Cluster, istiods, minor


@pytest.mark.parametrize(
    ("script", "action"), [("install", "istio"), ("install", "knative"), ("install", "kiali"), ("deploy", "")]
)
def test_an_old_kubernetes_is_one_line_before_any_change(script: str, action: str, cluster: Cluster) -> None:
    said, did = cluster.run(script, action, KUBERNETES=minor(OLDEST, -1))
    assert said.startswith(f"this cluster runs Kubernetes {minor(OLDEST, -1).removesuffix('.0')}, and {OLDEST} is")
    assert (len(said.splitlines()), did) == (1, [])


def test_an_untested_kubernetes_is_accepted(cluster: Cluster) -> None:
    said, did = cluster.run("install", "istio", KUBERNETES=minor(NEWEST, 1) + "-gke.7")
    assert (said, did[-1].partition(" ")[0]) == ("", "istioctl")


@pytest.mark.parametrize(("script", "action"), [("install", "knative"), ("install", "kiali"), ("deploy", "")])
def test_an_old_istio_is_named_with_the_command_that_updates_it(script: str, action: str, cluster: Cluster) -> None:
    said, did = cluster.run(script, action, ISTIODS=istiods(minor(ISTIO, -1) + "-distroless"))
    assert said == (
        f"this cluster has Istio {minor(ISTIO, -1)}, which is older than {ISTIO}: `make install-istio` updates it\n"
    )
    assert did == []
    assert cluster.run("install", "istio", ISTIODS=istiods(minor(ISTIO, -1)))[0] == ""


def test_a_newer_istio_is_not_replaced_by_an_older_one(cluster: Cluster) -> None:
    said, did = cluster.run("install", "istio", ISTIODS=istiods(minor(ISTIO, 1)))
    assert f"Istio {minor(ISTIO, 1)}, which is newer" in said
    assert did == []


@pytest.mark.parametrize("image", ["", "nightly", "latest@sha256:0123"])
def test_an_image_without_a_version_is_accepted(image: str, cluster: Cluster) -> None:
    assert cluster.run("install", "kiali", ISTIODS=istiods(image))[0] == ""


def test_add_ons_can_be_left_out(cluster: Cluster) -> None:
    def installed(addons: str) -> str:
        said, _ = cluster.run("install", "kiali", ADDONS=addons)
        assert said == ""
        return cluster.applied

    assert [name in installed("") for name in ("prometheus", "grafana", "jaeger")] == [True, True, True]
    assert [name in installed("prometheus kiali") for name in ("prometheus", "grafana", "jaeger")] == [
        True,
        False,
        False,
    ]
    said, did = cluster.run("install", "kiali", ADDONS="prometheus kiali zipkin")
    assert (said, did) == ("ADDONS knows prometheus, kiali, grafana and jaeger, and not zipkin\n", [])
    assert cluster.run("install", "kiali", ADDONS="grafana")[1] == []


def objects(*namespaces: str, spec: dict[str, str] | None = None, **marks: dict[str, str]) -> str:
    """Return what kubectl prints of an object in each of these namespaces. marks: its labels or annotations."""
    return json.dumps(
        {"items": [{"metadata": {"name": "door", "namespace": name, **marks}, "spec": spec} for name in namespaces]}
    )


SIDECARS = objects("todolist", "shop", "todolist", labels={"security.istio.io/tlsMode": "istio"})
IN_AMBIENT = objects("todolist", "istio-system", annotations={"ambient.istio.io/redirection": "enabled"})


@pytest.mark.parametrize(
    ("part", "state", "named"),
    [
        ("knative", {"KNATIVE_SERVICES": "shop todolist todolist"}, "Knative Services in: shop todolist "),
        ("knative", {"BROKERS": "shop shop"}, "Brokers or Triggers in: shop "),
        ("istio", {}, "`make uninstall-knative` first"),
        ("istio", {"KINDS": "istio", "PODS": SIDECARS}, "its sidecar in: shop todolist: "),
        ("istio", {"KINDS": "istio", "PODS": IN_AMBIENT}, "ztunnel serves pods in: todolist: "),
        (
            "istio",
            {"KINDS": "istio", "GATEWAYS": objects("shop", spec={"gatewayClassName": "istio"})},
            "Gateways: shop/door: ",
        ),
        ("istio", {"KINDS": "istio", "MORE": "deployment.apps/kiali"}, "deployment.apps/kiali (`make uninstall-kiali`"),
    ],
)
def test_what_is_in_use_is_kept_and_its_user_reported(
    part: str, state: dict[str, str], named: str, cluster: Cluster
) -> None:
    said, did = cluster.run("uninstall", part, **state)
    assert named in said
    assert (len(said.splitlines()), did) == (1, [])


def test_uninstalling_istio_removes_the_gateway_api_unless_others_use_it(cluster: Cluster) -> None:
    others = objects("shop", spec={"gatewayClassName": "nginx"})
    said, did = cluster.run("uninstall", "istio", KINDS="istio gateway-api", GATEWAYS=others, PODS=objects("shop"))
    assert said == ""
    assert did[0] == "istioctl uninstall --purge --skip-confirmation"
    assert "standard-install.yaml" in did[-1]
    _, did = cluster.run("uninstall", "istio", KINDS="istio gateway-api", ROUTES="gatewayclass/nginx")
    assert not [call for call in did if "standard-install.yaml" in call]


def test_knative_is_deleted_by_the_files_that_installed_it(cluster: Cluster) -> None:
    def files(calls: list[str], verb: str) -> set[str]:
        return {
            word.removeprefix("--filename=")
            for call in calls
            if call.startswith(verb)
            for word in call.split()
            if "https:" in word
        }

    said, installed = cluster.run("install", "knative")
    assert said == ""
    said, removed = cluster.run("uninstall", "knative")
    assert said == ""
    assert files(installed, "curl") == files(removed, "kubectl delete") != set()
    # Eventing can be left out.
    said, installed = cluster.run("install", "knative", EVENTING="no")
    assert (said, [call for call in installed if "eventing" in call]) == ("", [])
    said, _ = cluster.run("install", "knative", EVENTING="yes")
    assert said.strip() == "EVENTING is yes: it can be no or unset"
    # Where it is not, its kinds are unknown.
    assert cluster.run("uninstall", "knative", KINDS="istio") == ("", [])


def test_eventing_fits_a_laptop_and_is_in_the_mesh(cluster: Cluster) -> None:
    parts = "a:\n  cpu: 100m\nb:\n  cpu: 125m\nlimits:\n  cpu: 1000m\n  cpu: 200m"
    said, did = cluster.run("install", "knative", CURL=parts)
    assert said == ""
    assert cluster.applied.count("cpu: 20m") == 2 * 3
    assert cluster.applied.count("cpu: 1000m") == 3 + cluster.applied.count("cpu: 100m")
    applied = [call for call in did if "eventing" in call]
    label = next(
        n for n, call in enumerate(applied) if "label namespace knative-eventing istio-injection=enabled" in call
    )
    assert label < next(n for n, call in enumerate(applied) if "eventing-core.yaml" in call)
    assert any("scale deployment/job-sink statefulset/request-reply" in call for call in applied)


def test_the_ingress_of_knative_is_installed_and_removed_with_it(cluster: Cluster) -> None:
    def told(script: str, part: str, **state: str) -> str:
        said, did = cluster.run(script, part, **state)
        assert said == ""
        return "\n".join(did)

    for state, given in (({}, False), ({"INGRESS": "deployment.apps/istio-ingressgateway"}, True)):
        assert ("install/knative.yaml" in told("install", "istio", **state)) is given
        # Istio is not touched where it has the ingress.
        assert ("istioctl install" in told("install", "knative", **state)) is not given
    assert "operator.istio.io/component=IngressGateways" in told("uninstall", "knative")
    assert "IngressGateways" not in told("uninstall", "knative", ISTIO_GATEWAYS="shop")


def test_ambient_mode_is_optional_and_kept(cluster: Cluster) -> None:
    for part, state, given in (
        ("istio", {}, False),
        ("istio", {"MODE": "ambient"}, True),
        ("istio", {"ZTUNNEL": "yes"}, True),
        ("knative", {"ZTUNNEL": "yes"}, True),
    ):
        said, did = cluster.run("install", part, **state)
        assert said == ""
        assert any("install/ambient.yaml" in call for call in did) is given, (part, state)


@pytest.mark.parametrize("state", [{}, {"ZTUNNEL": "yes", "REQUEST_AUTHENTICATION": "1"}])
def test_ambient_without_its_requirements_is_one_line(state: dict[str, str], cluster: Cluster) -> None:
    said, did = cluster.run("deploy", "", TARGET="ambient", **state)
    assert ("MODE=ambient" in said) is not bool(state)
    assert (len(said.splitlines()), did) == (1, [])


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ('{"status":"success","data":{"resultType":"vector","result":[]}}', "`make traffic`"),
        ('{"status":"success","data":{"result":[{"metric":{},"value":[1,"9"]}]}}', "Prometheus has seen requests"),
        ("", "Prometheus does not answer"),
    ],
)
def test_an_empty_kiali_graph_is_explained(answer: str, said: str, cluster: Cluster) -> None:
    failed, did = cluster.run("kiali", "", PROMETHEUS=answer)
    assert failed == ""
    assert said in cluster.output
    assert did == ["kubectl port-forward service/kiali 20001:20001 --namespace=istio-system"]


def test_a_cluster_with_data_is_deleted_only_after_confirmation(cluster: Cluster) -> None:
    data = {"VOLUMES_THERE": "todolist/data-user-database-0"}
    said, did = cluster.run("cluster", "delete", **data)
    assert "todolist/data-user-database-0" in said
    assert did == []
    for state in ({}, {**data, "VOLUMES": "delete"}):
        said, did = cluster.run("cluster", "delete", **state)
        assert (said, did[0]) == ("", "kind delete cluster --name=todolist")
