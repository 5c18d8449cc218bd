"""`make install-*`, `uninstall-*` and `cluster-delete`: their checks, and their changes."""

import json

from tests.manifests.stand_in import ISTIO, NEWEST, OLDEST, Cluster, istiods, minor


def test_an_old_kubernetes_is_one_line_before_any_change(cluster: Cluster) -> None:
    for script, action in (("install", "kiali"), ("deploy", "")):
        said = cluster.refusal(script, action, KUBERNETES=minor(OLDEST, -1))
        assert said.startswith(f"this cluster runs Kubernetes {minor(OLDEST, -1).removesuffix('.0')}, and {OLDEST} is")


def test_an_old_istio_is_named_with_the_command_that_updates_it(cluster: Cluster) -> None:
    for script, action in (("install", "knative"), ("deploy", "")):
        said = cluster.refusal(script, action, ISTIODS=istiods(minor(ISTIO, -1) + "-distroless"))
        assert said == (
            f"this cluster has Istio {minor(ISTIO, -1)}, which is older than {ISTIO}: `make install-istio` updates it\n"
        )
    assert cluster.ask("mesh", "install", ISTIODS=istiods(minor(ISTIO, -1))) == ("install", "")
    # A newer one is not replaced by an older one.
    newer = cluster.refusal("install", "istio", ISTIODS=istiods(minor(ISTIO, 1)))
    assert f"Istio {minor(ISTIO, 1)}, which is newer" in newer
    # An image without a version is accepted.
    for image in ("", "nightly", "latest@sha256:0123"):
        assert cluster.ask("mesh", "istio", ISTIODS=istiods(image)) == ("", "")


def test_add_ons_can_be_left_out(cluster: Cluster) -> None:
    for addons, others in (("", True), ("prometheus kiali", False)):
        assert cluster.run("install", "kiali", ADDONS=addons)[0] == ""
        there = [f"image: {name}/" in cluster.applied for name in ("prometheus", "grafana", "jaeger")]
        assert there == [True, others, others]
    said = cluster.refusal("install", "kiali", ADDONS="prometheus kiali zipkin")
    assert said == "ADDONS knows prometheus, kiali, grafana and jaeger, and not zipkin\n"
    cluster.refusal("install", "kiali", ADDONS="grafana")


def objects(*namespaces: str, spec: dict[str, str] | None = None, **marks: dict[str, str]) -> str:
    """Return what kubectl prints of an object in each of these namespaces. marks: its labels or annotations."""
    return json.dumps(
        {"items": [{"metadata": {"name": "door", "namespace": name, **marks}, "spec": spec} for name in namespaces]}
    )


SIDECARS = objects("todolist", "shop", "todolist", labels={"security.istio.io/tlsMode": "istio"})
IN_AMBIENT = objects("todolist", "istio-system", annotations={"ambient.istio.io/redirection": "enabled"})
GATEWAY = objects("shop", spec={"gatewayClassName": "istio"})


def test_what_is_in_use_is_kept_and_its_user_reported(cluster: Cluster) -> None:
    for part, state, named in (
        ("knative", {"KNATIVE_SERVICES": "shop todolist todolist"}, "Knative Services in: shop todolist "),
        ("knative", {"BROKERS": "shop shop"}, "Brokers or Triggers in: shop "),
        ("istio", {}, "`make uninstall-knative` first"),
        ("istio", {"KINDS": "istio", "PODS": SIDECARS}, "its sidecar in: shop todolist: "),
        ("istio", {"KINDS": "istio", "MORE": "deployment.apps/kiali"}, "deployment.apps/kiali (`make uninstall-kiali`"),
    ):
        assert named in cluster.refusal("uninstall", part, **state)
    assert "ztunnel serves pods in: todolist: " in cluster.ask("mesh", "removal", PODS=IN_AMBIENT)[1]
    assert "Gateways: shop/door: " in cluster.ask("mesh", "removal", GATEWAYS=GATEWAY)[1]


def test_uninstalling_istio_removes_the_gateway_api_unless_others_use_it(cluster: Cluster) -> None:
    others = objects("shop", spec={"gatewayClassName": "nginx"})
    said, did = cluster.run("uninstall", "istio", KINDS="istio gateway-api", GATEWAYS=others, PODS=objects("shop"))
    assert said == ""
    assert did[0] == "istioctl uninstall --purge --skip-confirmation"
    assert "standard-install.yaml" in did[-1]
    for state, why in (
        ({"ROUTES": "gatewayclass/nginx"}, "others use it"),
        ({"GATEWAY_API_OF": ""}, "was there before"),
    ):
        said, did = cluster.run("uninstall", "istio", KINDS="istio gateway-api", **state)
        assert (said, [call for call in did if "standard-install.yaml" in call]) == ("", [])
        assert why in cluster.output


def test_knative_is_deleted_by_the_files_that_installed_it(cluster: Cluster) -> None:
    def files(calls: list[str], verb: str) -> set[str]:
        words = {word for call in calls if call.startswith(verb) for word in call.split()}
        return {word.removeprefix("--filename=") for word in words if "https:" in word}

    parts = "a:\n  cpu: 100m\nb:\n  cpu: 125m\nlimits:\n  cpu: 1000m\n  cpu: 200m"
    said, installed = cluster.run("install", "knative", CURL=parts)
    assert said == ""
    # With the ingress that it uses.
    assert any(call.startswith("istioctl install") and "install/knative.yaml" in call for call in installed)
    assert any("configmap/config-domain" in call for call in installed)
    # Eventing fits a laptop, and is in the mesh.
    assert cluster.applied.count("cpu: 20m") == 2 * 3
    assert cluster.applied.count("cpu: 1000m") == 3 + cluster.applied.count("cpu: 100m")
    applied = [call for call in installed if "eventing" in call]
    steps = (
        "label namespace knative-eventing istio-injection=enabled",
        "eventing-core.yaml",
        "scale deployment/job-sink",
    )
    numbers = [next(number for number, call in enumerate(applied) if step in call) for step in steps]
    assert numbers == sorted(numbers)

    said, removed = cluster.run("uninstall", "knative")
    assert (said, files(installed, "curl") == files(removed, "kubectl delete") != set()) == ("", True)
    assert any("operator.istio.io/component=IngressGateways" in call for call in removed)


def test_parts_that_others_use_or_that_are_missing_are_left_alone(cluster: Cluster) -> None:
    # Eventing can be left out, and Istio is not touched where it has the ingress.
    said, installed = cluster.run("install", "knative", EVENTING="no", INGRESS="there")
    assert (said, [call for call in installed if "eventing" in call or "istioctl" in call]) == ("", [])
    said, removed = cluster.run("uninstall", "knative", ISTIO_GATEWAYS="shop")
    assert (said, [call for call in removed if "IngressGateways" in call]) == ("", [])
    # Where it is not, its kinds are unknown.
    assert cluster.run("uninstall", "knative", KINDS="istio") == ("", [])


def test_ambient_mode_is_optional_and_kept(cluster: Cluster) -> None:
    # Also with a Kubernetes that is newer than what was tried.
    for state, ambient in (
        ({"KUBERNETES": minor(NEWEST, 1) + "-gke.7"}, False),
        ({"MODE": "ambient"}, True),
        ({"ZTUNNEL": "yes", "INGRESS": "there"}, True),
    ):
        said, did = cluster.run("install", "istio", **state)
        assert said == ""
        assert any("install/ambient.yaml" in call for call in did) is ambient, state
        # Nor is Knative's ingress lost.
        assert any("install/knative.yaml" in call for call in did) is ("INGRESS" in state)


def test_ambient_without_its_requirements_is_one_line(cluster: Cluster) -> None:
    assert "MODE=ambient" in cluster.refusal("deploy", TARGET="ambient")
    said = cluster.refusal("deploy", TARGET="ambient", ZTUNNEL="yes", REQUEST_AUTHENTICATION="1")
    assert said.startswith("REQUEST_AUTHENTICATION is for TARGET=istio")


def test_an_empty_kiali_graph_is_explained(cluster: Cluster) -> None:
    for answer, hint in (
        ('{"status":"success","data":{"resultType":"vector","result":[]}}', "`make traffic`"),
        ('{"status":"success","data":{"result":[{"metric":{},"value":[1,"9"]}]}}', "Prometheus has seen requests"),
        ("", "Prometheus does not answer"),
    ):
        said, did = cluster.run("kiali", "", PROMETHEUS=answer)
        assert said == ""
        assert hint in cluster.output
        assert did == ["kubectl port-forward service/kiali 20001:20001 --namespace=istio-system"]


def test_a_cluster_with_data_is_deleted_only_after_confirmation(cluster: Cluster) -> None:
    data = {"VOLUMES_THERE": "todolist/data-user-database-0"}
    assert "todolist/data-user-database-0" in cluster.refusal("cluster", "delete", **data)
    for state in ({}, {**data, "VOLUMES": "delete"}):
        said, did = cluster.run("cluster", "delete", **state)
        assert (said, did[0]) == ("", "kind delete cluster --name=todolist")
