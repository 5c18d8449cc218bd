"""What keeps a command from its work, and what `make install-*`, `uninstall-*` and `cluster-delete` change."""

import re

import pytest

from tests.manifests.stand_in import ISTIO, NEWEST, OLDEST, Cluster, definitions, istiods, items, minor
from tests.manifests.test_versions import VERSIONS

KUBECTL, KIND = (VERSIONS[f"{name}_OLDEST"] for name in ("KUBECTL", "KIND"))
OLD_KUBERNETES, OLD_ISTIO, NEW_ISTIO = minor(OLDEST, -1), minor(ISTIO, -1), minor(ISTIO, 1)
OLD_KUBECTL, OLD_KIND = minor(KUBECTL, -1), minor(KIND, -3)
AMBIENT = {"TARGET": "ambient", "ZTUNNEL": "yes"}
DATA = "todolist/data-user-database-0"
# The command, the cluster and settings, and what it says.
REFUSALS: list[tuple[str, dict[str, str], str]] = [
    # Versions.
    (
        "install kiali",
        {"KUBERNETES": OLD_KUBERNETES},
        f"{OLDEST} is the oldest that works: update it, or `make cluster`",
    ),
    ("install knative", {"ISTIODS": istiods(f"{OLD_ISTIO}-distroless")}, f"older than {ISTIO}: `make install-istio`"),
    ("install istio", {"ISTIODS": istiods(NEW_ISTIO)}, f"Istio {NEW_ISTIO}, which is newer"),
    ("deploy", {"CLIENT": OLD_KUBECTL}, f"kubectl is v{OLD_KUBECTL}, and {KUBECTL} is the oldest that works"),
    ("cluster create", {"KIND": f"kind v{OLD_KIND} go1.22 linux/amd64"}, f"kind is {OLD_KIND}"),
    # What is missing.
    ("deploy", {"KINDS": ""}, "Istio is missing in this cluster: `make install-istio` installs it"),
    ("deploy", {"DEFINITIONS": ""}, "the Gateway API is missing in this cluster: `make install-istio` installs it"),
    ("deploy", {"DEFINITIONS": definitions(routes=("spec", "rules"))}, "lacks httproutes with spec.rules.timeouts"),
    ("deploy", {"NAMESPACE_THERE": '{"metadata": {}}'}, "deploy into it as it is: KEEP_NAMESPACE=1"),
    ("deploy", {"TARGET": "ambient"}, "ambient mode is missing in this cluster: `make install-istio MODE=ambient`"),
    ("images push", {}, "this user may not list the nodes of here"),
    # Settings.
    ("deploy", {"TIMEOUT": "5m"}, "TIMEOUT is 5m: it "),
    ("url", {"PORT": "http"}, "PORT is http: it "),
    ("undeploy", {"DEPLOYED": "istio", "VOLUMES": "yes"}, "VOLUMES is yes: it "),
    ("traffic start", {"DEPLOYED": "istio", "RATE": "2/s"}, "RATE is 2/s: it "),
    ("install istio", {"MODE": "sidecar"}, "MODE is sidecar: it "),
    ("install knative", {"EVENTING": "yes"}, "EVENTING is yes: it "),
    ("install kiali", {"ADDONS": "prometheus kiali zipkin"}, "ADDONS contains"),
    ("install kiali", {"ADDONS": "grafana"}, "ADDONS must include prometheus and kiali"),
    ("install kiali", {"PROMETHEUS_URL": "prometheus:9090"}, "PROMETHEUS_URL is prometheus:9090: it "),
    ("deploy", {"TARGET": "knative", "TLS": "1"}, "TLS is for TARGET=istio and ambient"),
    ("deploy", {**AMBIENT, "REQUEST_AUTHENTICATION": "1"}, "REQUEST_AUTHENTICATION is for TARGET=istio"),
    # What is in use.
    ("deploy", {**AMBIENT, "DEPLOYED": "istio"}, "lesson 21 moves it under load, step by step (lessons/21-ambient/"),
    ("cluster delete", {"VOLUMES_THERE": DATA}, DATA),
    ("uninstall knative", {"KNATIVE_SERVICES": "shop todolist todolist"}, "Knative Services in: shop todolist "),
    ("uninstall knative", {"BROKERS": "shop shop"}, "Brokers or Triggers in: shop "),
    ("uninstall istio", {}, "`make uninstall-knative` first"),
    ("uninstall istio", {"KINDS": "istio", "MORE": "deployment.apps/kiali"}, "more: deployment.apps/kiali (`make un"),
]


@pytest.mark.parametrize(("command", "state", "said"), REFUSALS)
def test_what_cannot_work_is_one_line_before_any_change(
    command: str, state: dict[str, str], said: str, cluster: Cluster
) -> None:
    assert said in cluster.refusal(*command.split(), **state)


def test_other_versions_of_istio(cluster: Cluster) -> None:
    assert cluster.ask("mesh", "install", ISTIODS=istiods(minor(ISTIO, -1))) == ("install", "")
    # An image without a version is accepted.
    for image in ("", "nightly", "latest@sha256:0123"):
        assert cluster.ask("mesh", "istio", ISTIODS=istiods(image)) == ("", "")


def test_an_old_cluster_of_kind_is_made_again(cluster: Cluster) -> None:
    old = {"KUBERNETES": OLD_KUBERNETES, "CONTEXT_NAME": "kind-todolist", "KIND": f"kind v{KIND}.0 go1.24 linux/amd64"}
    for script, action in (("cluster", "create"), ("deploy", "")):
        said = cluster.failure(script, action, **old)
        assert said.endswith("`make cluster-delete cluster` makes a newer one\n")


def test_add_ons_can_be_left_out(cluster: Cluster) -> None:
    for addons in ("prometheus grafana jaeger", "prometheus"):
        cluster.run("install", "kiali", ADDONS=f"kiali {addons}", MIRROR="mirror.example")
        applied = re.findall(r"image: mirror\.example/docker\.io/(\w+)/", cluster.applied)
        assert applied == addons.split()


def objects(*namespaces: str, spec: dict[str, str] | None = None, **marks: dict[str, str]) -> str:
    """Return what kubectl prints of an object in each of these namespaces. marks: its labels or annotations."""
    return items(*({"metadata": {"name": "door", "namespace": each, **marks}, "spec": spec} for each in namespaces))


def test_an_istio_in_use_is_kept(cluster: Cluster) -> None:
    sidecars = objects("todolist", "shop", labels={"security.istio.io/tlsMode": "istio"})
    in_ambient = objects("todolist", "istio-system", annotations={"ambient.istio.io/redirection": "enabled"})
    assert "its sidecar in: shop todolist: " in cluster.ask("mesh", "removal", PODS=sidecars)[1]
    assert "ztunnel serves pods in: todolist: " in cluster.ask("mesh", "removal", PODS=in_ambient)[1]
    gateway = objects("shop", spec={"gatewayClassName": "istio"})
    assert "Gateways: shop/door: " in cluster.ask("mesh", "removal", GATEWAYS=gateway)[1]


def test_uninstalling_istio_removes_the_gateway_api_unless_others_use_it(cluster: Cluster) -> None:
    others = objects("shop", spec={"gatewayClassName": "nginx"})
    did = cluster.run("uninstall", "istio", KINDS="istio gateway-api", GATEWAYS=others, PODS=objects("shop"))
    assert did[0] == "istioctl uninstall --purge --skip-confirmation"
    assert "standard-install.yaml" in did[-1]
    for state, why in (
        ({"ROUTES": "gatewayclass/nginx"}, "others use it"),
        ({"GATEWAY_API_OF": ""}, "was there before"),
    ):
        did = cluster.run("uninstall", "istio", KINDS="istio gateway-api", **state)
        assert not [call for call in did if "standard-install.yaml" in call]
        assert why in cluster.output


def test_knative_is_deleted_by_the_files_that_installed_it(cluster: Cluster) -> None:
    def files(calls: list[str], verb: str) -> set[str]:
        words = {word for call in calls if call.startswith(verb) for word in call.split()}
        return {word.removeprefix("--filename=") for word in words if "https:" in word}

    parts = "a:\n  cpu: 100m\nb:\n  cpu: 125m\nlimits:\n  cpu: 1000m\n  cpu: 200m"
    installed = cluster.run("install", "knative", CURL=parts)
    # With the ingress that it uses.
    assert any(call.startswith("istioctl install") and "install/knative.yaml" in call for call in installed)
    assert any("configmap/config-domain" in call for call in installed)
    # Eventing fits a laptop, and is in the mesh.
    assert cluster.applied.count("cpu: 20m") == 2 * 3
    assert cluster.applied.count("cpu: 1000m") == 3 + cluster.applied.count("cpu: 100m")
    applied = [call for call in installed if "eventing" in call]
    steps = ("label namespace knative-eventing istio-injection=", "eventing-core.yaml", "scale deployment/job-sink")
    numbers = [next(number for number, call in enumerate(applied) if step in call) for step in steps]
    assert numbers == sorted(numbers)

    removed = cluster.run("uninstall", "knative")
    assert files(installed, "curl") == files(removed, "kubectl delete") != set()
    assert any("operator.istio.io/component=IngressGateways" in call for call in removed)


def test_parts_that_others_use_or_that_are_missing_are_left_alone(cluster: Cluster) -> None:
    # Eventing can be left out, and Istio is not touched where it has the ingress.
    installed = cluster.run("install", "knative", EVENTING="no", INGRESS="there")
    assert not [call for call in installed if "eventing" in call or "istioctl" in call]
    removed = cluster.run("uninstall", "knative", ISTIO_GATEWAYS="shop")
    assert not [call for call in removed if "IngressGateways" in call]
    # Where it is not, its kinds are unknown.
    assert cluster.run("uninstall", "knative", KINDS="istio") == []


@pytest.mark.parametrize(
    ("state", "wanted"),
    [
        # Also with a Kubernetes that is newer than what was tried.
        ({"KUBERNETES": minor(NEWEST, 1) + "-gke.7", "DEFINITIONS": ""}, {"istio"}),
        ({"MODE": "ambient"}, {"istio", "ambient"}),
        # Neither ambient mode nor Knative's ingress is lost.
        ({"ZTUNNEL": "yes", "INGRESS": "there"}, {"istio", "ambient", "knative"}),
    ],
)
def test_ambient_mode_is_optional_and_kept(state: dict[str, str], wanted: set[str], cluster: Cluster) -> None:
    did = cluster.run("install", "istio", **state)
    parts = {part for part in ("istio", "ambient", "cni", "knative") if f"install/{part}.yaml" in did[-1]}
    assert parts == wanted
    assert any("standard-install.yaml" in call for call in did) is ("DEFINITIONS" in state)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        ('{"status":"success","data":{"resultType":"vector","result":[]}}', "`make traffic`"),
        ('{"status":"success","data":{"result":[{"metric":{},"value":[1,"9"]}]}}', "Prometheus has seen requests"),
        ("", "Prometheus does not answer"),
    ],
)
def test_an_empty_kiali_graph_is_explained(answer: str, hint: str, cluster: Cluster) -> None:
    did = cluster.run("kiali", PROMETHEUS=answer)
    assert hint in cluster.output
    assert did == ["kubectl port-forward service/kiali 20001:20001 --namespace=istio-system"]


def test_a_cluster_with_data_is_deleted_only_after_confirmation(cluster: Cluster) -> None:
    """Without it: test_what_cannot_work."""
    for state in ({}, {"VOLUMES_THERE": DATA, "VOLUMES": "delete"}):
        assert cluster.run("cluster", "delete", **state)[0] == "kind delete cluster --name=todolist"
