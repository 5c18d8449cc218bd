"""What `make install-*`, `uninstall-*` and `cluster-delete` look at before they change a cluster, and what they do."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.manifests.test_versions import VERSIONS
from tests.support import ROOT

ISTIO, OLDEST, NEWEST = (VERSIONS[name] for name in ("ISTIO_VERSION", "KUBERNETES_OLDEST", "KUBERNETES_NEWEST"))
INSTALLED = "istio knative gateway-api"

# A cluster: it answers what the scripts ask from the environment, and keeps a list of what would change it.
KUBECTL = r"""#!/bin/sh
case "$*" in
  "get --raw /version"*) echo "{\"gitVersion\": \"v$KUBERNETES\"}" ;;
  "get deployments --namespace=istio-system --selector=app=istiod"*) echo "docker.io/istio/pilot:$ISTIOD" ;;
  "get --raw /api/v1/namespaces/istio-system/services/prometheus"*) echo "$PROMETHEUS" ;;
  "get crd services.serving.knative.dev"*) case $KINDS in *knative*) ;; *) false ;; esac ;;
  "get crd "*gateway.networking.k8s.io*) case $KINDS in *gateway-api*) ;; *) false ;; esac ;;
  "get crd "*) case $KINDS in *istio*) ;; *) false ;; esac ;;
  "get services.serving.knative.dev,"*) echo "$KNATIVE_SERVICES" | tr ' ' '\n' ;;
  "get pods "*ambient*) echo "$IN_AMBIENT" | tr ' ' '\n' ;;
  "get pods "*) echo "$SIDECARS" | tr ' ' '\n' ;;
  "get daemonset/ztunnel"*) [ "$ZTUNNEL" ] ;;
  "get daemonsets "*ztunnel*) echo "$ZTUNNEL" ;;
  "config current-context") ;;
  "get gateways.networking.istio.io"*) echo "$ISTIO_GATEWAYS" ;;
  "get gateways"*) echo "$GATEWAYS" ;;
  "get deployments,"*) echo "$MORE" ;;
  "get persistentvolumeclaims"*) echo "$VOLUMES_THERE" ;;
  "get deployment/istio-ingressgateway"*) [ "$INGRESS" ] && echo "$INGRESS" ;;
  "api-resources"*) echo httproutes.gateway.networking.k8s.io ;;
  "get --all-namespaces"*) echo "$ROUTES" ;;
  "get "*) ;;
  *) [ -t 0 ] || cat >/dev/null; echo "kubectl $*" >>"$CALLS" ;;
esac
"""
OTHER = """#!/bin/sh
case "$(basename "$0") $*" in
  "kind get clusters") echo todolist ;;
  "docker info") ;;
  *) echo "$(basename "$0") $*" >>"$CALLS" ;;
esac
"""


class Cluster:
    """Runs a script of deploy/ against a cluster that is as the environment says."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        shutil.copytree(ROOT / "deploy", directory / "deploy", ignore=shutil.ignore_patterns("__pycache__"))
        addons = directory / f".build/istio-{ISTIO}/samples/addons"
        addons.mkdir(parents=True)
        (addons / "kiali.yaml").write_text("tracing:\n  enabled: false\n")
        for path, text in {
            "bin/kubectl": KUBECTL,
            "bin/kind": OTHER,
            "bin/docker": OTHER,
            f".build/istio-{ISTIO}/bin/istioctl": OTHER,
        }.items():
            program = directory / path
            program.parent.mkdir(exist_ok=True)
            program.write_text(text)
            program.chmod(0o755)

    def run(self, script: str, action: str, **cluster: str) -> tuple[str, list[str]]:
        """Return what the script said when it failed, or nothing, and what it did. Its output is in `self.output`."""
        calls = self.directory / "calls"
        calls.write_text("")
        state = {
            "KUBERNETES": f"{OLDEST}.1",
            "ISTIOD": ISTIO,
            "KINDS": INSTALLED,
            "KNATIVE_SERVICES": "",
            "SIDECARS": "",
            "IN_AMBIENT": "",
            "ZTUNNEL": "",
            "GATEWAYS": "",
            "MORE": "",
            "ROUTES": "",
            "VOLUMES_THERE": "",
            "INGRESS": "",
            "ISTIO_GATEWAYS": "",
            **cluster,
        }
        env = {**os.environ, **VERSIONS, **state, "CALLS": str(calls)}
        env["PATH"] = f"{self.directory}/bin{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            [f"deploy/scripts/{script}.sh", action], cwd=self.directory, env=env, capture_output=True, text=True,
            check=False, stdin=subprocess.DEVNULL, timeout=60,
        )  # fmt: skip
        self.output = done.stdout
        return done.stderr if done.returncode else "", calls.read_text().splitlines()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    return Cluster(tmp_path_factory.mktemp("cluster"))


def minor(version: str, difference: int) -> str:
    """Return the version so many minor versions away."""
    major, number, *_ = version.split(".")
    return f"{major}.{int(number) + difference}.0"


@pytest.mark.parametrize(
    ("script", "action"), [("install", "istio"), ("install", "knative"), ("install", "kiali"), ("deploy", "")]
)
def test_an_old_kubernetes_is_refused_in_a_line_before_anything_changes(
    script: str, action: str, cluster: Cluster
) -> None:
    said, did = cluster.run(script, action, KUBERNETES=minor(OLDEST, -1))
    assert said.startswith(f"this cluster runs Kubernetes {minor(OLDEST, -1).removesuffix('.0')}, and {OLDEST} is")
    assert (len(said.splitlines()), did) == (1, [])


def test_a_kubernetes_that_nobody_tried_is_no_reason_to_stop(cluster: Cluster) -> None:
    said, did = cluster.run("install", "istio", KUBERNETES=minor(NEWEST, 1) + "-gke.7")
    assert (said, did[-1].partition(" ")[0]) == ("", "istioctl")


@pytest.mark.parametrize(("script", "action"), [("install", "knative"), ("install", "kiali"), ("deploy", "")])
def test_an_old_istio_is_named_with_the_command_that_updates_it(script: str, action: str, cluster: Cluster) -> None:
    said, did = cluster.run(script, action, ISTIOD=minor(ISTIO, -1) + "-distroless")
    assert said == (
        f"this cluster has Istio {minor(ISTIO, -1)}, which is older than {ISTIO}: `make install-istio` updates it\n"
    )
    assert did == []
    assert cluster.run("install", "istio", ISTIOD=minor(ISTIO, -1))[0] == ""


def test_a_newer_istio_is_not_replaced_by_an_older_one(cluster: Cluster) -> None:
    said, did = cluster.run("install", "istio", ISTIOD=minor(ISTIO, 1))
    assert f"Istio {minor(ISTIO, 1)}, which is newer" in said
    assert did == []


@pytest.mark.parametrize("image", ["", "nightly", "latest@sha256:0123"])
def test_an_image_without_a_version_says_nothing(image: str, cluster: Cluster) -> None:
    assert cluster.run("install", "kiali", ISTIOD=image)[0] == ""


def test_add_ons_can_be_left_out(cluster: Cluster) -> None:
    def installed(addons: str) -> str:
        said, did = cluster.run("install", "kiali", ADDONS=addons)
        assert said == ""
        return did[0]

    assert [name in installed("") for name in ("prometheus", "grafana", "jaeger")] == [True, True, True]
    assert [name in installed("prometheus kiali") for name in ("prometheus", "grafana", "jaeger")] == [
        True,
        False,
        False,
    ]
    said, did = cluster.run("install", "kiali", ADDONS="prometheus kiali zipkin")
    assert (said, did) == ("ADDONS knows prometheus, kiali, grafana and jaeger, and not zipkin\n", [])
    assert cluster.run("install", "kiali", ADDONS="grafana")[1] == []


@pytest.mark.parametrize(
    ("part", "state", "named"),
    [
        ("knative", {"KNATIVE_SERVICES": "shop todolist todolist"}, "Knative Services in: shop todolist "),
        ("istio", {}, "`make uninstall-knative` first"),
        ("istio", {"KINDS": "istio", "SIDECARS": "todolist shop todolist"}, "in: shop todolist "),
        ("istio", {"KINDS": "istio", "IN_AMBIENT": "todolist istio-system"}, "ztunnel serves pods in: todolist "),
        (
            "istio",
            {"KINDS": "istio gateway-api", "GATEWAYS": "istio shop/door\nnginx shop/other"},
            "Gateways: shop/door ",
        ),
        ("istio", {"KINDS": "istio", "MORE": "deployment.apps/kiali"}, "deployment.apps/kiali (`make uninstall-kiali`"),
    ],
)
def test_what_is_still_used_stays_and_the_user_is_named(
    part: str, state: dict[str, str], named: str, cluster: Cluster
) -> None:
    said, did = cluster.run("uninstall", part, **state)
    assert named in said
    assert (len(said.splitlines()), did) == (1, [])


def test_istio_takes_the_gateway_api_with_it_unless_others_use_it(cluster: Cluster) -> None:
    said, did = cluster.run("uninstall", "istio", KINDS="istio gateway-api")
    assert said == ""
    assert did[0] == "istioctl uninstall --purge --skip-confirmation"
    assert "standard-install.yaml" in did[-1]
    _, did = cluster.run("uninstall", "istio", KINDS="istio gateway-api", ROUTES="gatewayclass/nginx")
    assert not [call for call in did if "standard-install.yaml" in call]


def test_knative_is_deleted_by_the_files_that_installed_it(cluster: Cluster) -> None:
    def files(calls: list[str], verb: str) -> set[str]:
        return {
            word for call in calls if call.startswith(f"kubectl {verb}") for word in call.split() if "https:" in word
        }

    said, installed = cluster.run("install", "knative")
    assert said == ""
    said, removed = cluster.run("uninstall", "knative")
    assert said == ""
    assert files(installed, "apply") == files(removed, "delete") != set()
    # Where it is not, its kinds are unknown.
    assert cluster.run("uninstall", "knative", KINDS="istio") == ("", [])


def test_the_ingress_of_knative_comes_and_goes_with_it(cluster: Cluster) -> None:
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


def test_ambient_mode_is_added_on_request_and_stays(cluster: Cluster) -> None:
    for part, state, given in (
        ("istio", {}, False),
        ("istio", {"MODE": "ambient"}, True),
        ("istio", {"ZTUNNEL": "yes"}, True),
        ("knative", {"ZTUNNEL": "yes"}, True),
    ):
        said, did = cluster.run("install", part, **state)
        assert said == ""
        assert any("install/ambient.yaml" in call for call in did) is given, (part, state)
    assert cluster.run("install", "istio", MODE="sidecar") == ("MODE is sidecar: it can be ambient or unset\n", [])


@pytest.mark.parametrize("state", [{}, {"ZTUNNEL": "yes", "REQUEST_AUTHENTICATION": "1"}])
def test_without_what_it_needs_ambient_is_refused_in_a_line(state: dict[str, str], cluster: Cluster) -> None:
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
def test_kiali_is_never_empty_without_a_word(answer: str, said: str, cluster: Cluster) -> None:
    failed, did = cluster.run("kiali", "", PROMETHEUS=answer)
    assert failed == ""
    assert said in cluster.output
    assert did == ["kubectl port-forward service/kiali 20001:20001 --namespace=istio-system"]


def test_a_cluster_with_data_is_deleted_only_by_somebody_who_says_so(cluster: Cluster) -> None:
    data = {"VOLUMES_THERE": "todolist/data-user-database-0"}
    said, did = cluster.run("cluster", "delete", **data)
    assert "todolist/data-user-database-0" in said
    assert did == []
    for state in ({}, {**data, "VOLUMES": "delete"}):
        said, did = cluster.run("cluster", "delete", **state)
        assert (said, did[0]) == ("", "kind delete cluster --name=todolist")
