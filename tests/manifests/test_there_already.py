"""Existing components of a cluster, by a stand-in: an Istio, a Gateway API, a domain of Knative, a Prometheus."""

import datetime
import json
from typing import Any

import pytest

from tests.manifests.conftest import injector, istiod
from tests.manifests.stand_in import ISTIO, Cluster, definitions, istiods, minor
from tests.manifests.test_versions import VERSIONS

# As the charts and istioctl, the add-on of AKS, and the managed control plane of GKE set them up.
DEFAULT = [injector()]
CANARY = [injector("canary")]
TAGGED = [injector("canary"), injector("canary", tag="default")]
PROD = [injector("canary"), injector("canary", tag="prod")]
AKS = [injector("asm-1-29", "aks-istio-system")]
GKE = [injector("asm-managed", "")]
ELSEWHERE = [injector(namespace="mesh", owner="istiod")]
TWO = [*CANARY, *AKS]


def items(found: list[Any]) -> str:
    return json.dumps({"items": found})


def namespace(**labels: str) -> str:
    return json.dumps({"metadata": {"name": "todolist", "labels": labels}, "status": {"phase": "Active"}})


def rendered_by_helm() -> Any:
    """Return an istiod that `helm template` or Argo CD made: neither Helm's release nor istioctl's mark is on it."""
    found = istiod(ISTIO)
    for name in ("operator.istio.io/managed", "installed-by"):
        del found["metadata"]["labels"][name]
    return found


def by_istioctl() -> Any:
    """Return an istiod that somebody else's `istioctl install` made, with the default revision."""
    found = istiod(ISTIO)
    del found["metadata"]["labels"]["installed-by"]
    return found


def rendered(cluster: Cluster, **state: str) -> str:
    """Run `make deploy` until it waits, and return the labels of the namespace that it applies."""
    cluster.run("deploy", "", **state)
    file = cluster.directory / ".build/deploy/namespace/kustomization.yaml"
    return file.read_text() if file.exists() else ""


@pytest.mark.parametrize(
    ("injectors", "label"),
    [
        (DEFAULT, None),
        (TAGGED, None),
        (ELSEWHERE, None),
        (CANARY, "canary"),
        (PROD, "canary"),
        (AKS, "asm-1-29"),
        (GKE, "asm-managed"),
    ],
    ids=["default", "default tag", "Helm, elsewhere", "revision", "tag", "AKS", "GKE"],
)
def test_the_namespace_gets_the_label_of_the_installed_istio(
    injectors: list[Any], label: str | None, cluster: Cluster
) -> None:
    there = {"INJECTORS": items(injectors), "ISTIODS": items([])}
    wanted = f"istio.io/rev={label}" if label else "istio-injection=enabled"
    assert cluster.ask("mesh", "label", "istio", "todolist", **there) == (wanted, "")
    if injectors in (DEFAULT, GKE):
        kustomization = rendered(cluster, **there)
        assert ("istio.io/rev" in kustomization) is bool(label)
        assert not label or f'labels: {{istio-injection: null, istio.io/rev: "{label}"}}' in kustomization
        # The activator and the autoscaler need the same one.
        said, did = cluster.run("install", "knative", **there, INGRESS="there")
        assert not label or f"kubectl label namespace knative-serving {wanted} --overwrite" in did, said


def test_of_several_revisions_one_has_to_be_selected(cluster: Cluster) -> None:
    said, did = cluster.run("deploy", "", INJECTORS=items(TWO), ISTIODS=items([]))
    assert "ISTIO_REVISION=asm-1-29 or ISTIO_REVISION=canary" in said
    assert "aks-istio-system" in said
    assert (len(said.splitlines()), did) == (1, [])
    label = ("mesh", "label", "istio", "todolist")
    assert cluster.ask(*label, INJECTORS=items(TWO), ISTIO_REVISION="canary")[0] == "istio.io/rev=canary"
    _, said = cluster.ask(*label, INJECTORS=items(TWO), ISTIO_REVISION="none")
    assert "ISTIO_REVISION=none is no revision" in said
    # What an earlier deployment chose stays.
    chosen = namespace(**{"app.kubernetes.io/part-of": "todolist", "istio.io/rev": "canary"})
    assert cluster.ask(*label, INJECTORS=items(TWO), NAMESPACE_THERE=chosen)[0] == "istio.io/rev=canary"


@pytest.mark.parametrize(
    ("state", "named"),
    [
        ({"INJECTORS": items(CANARY), "ISTIODS": istiods(ISTIO, revision="canary")}, "revision canary in istio-system"),
        ({"INJECTORS": items(ELSEWHERE), "ISTIODS": istiods(ISTIO, namespace="mesh", owner="istiod")}, "by Helm"),
        ({"ISTIODS": items([rendered_by_helm()])}, "revision default in istio-system"),
        ({"ISTIODS": items([by_istioctl()])}, "default in istio-system, installed by istioctl"),
        ({"INJECTORS": items(GKE), "ISTIODS": items([])}, "asm-managed, outside of the cluster"),
        (
            {"INJECTORS": items(AKS), "ISTIODS": istiods(ISTIO, revision="asm-1-29", namespace="aks-istio-system")},
            "by the cloud",
        ),
    ],
    ids=["revision", "Helm", "Argo CD", "istioctl", "GKE", "AKS"],
)
def test_no_second_istio_is_installed(state: dict[str, str], named: str, cluster: Cluster) -> None:
    answer, said = cluster.ask("mesh", "install", **state)
    assert (named in answer, said) == (True, "")
    # What an earlier version of ours made looks the same.
    assert ("kubectl label deployment/istiod" in answer) is ("by istioctl" in named)
    assert named in cluster.ask("mesh", "removal", **state)[1]
    if "Helm" in named:
        said, did = cluster.run("install", "istio", **state)
        assert said == ""
        assert named in cluster.output
        assert not any("istioctl" in call for call in did)
        # Neither for an ingress that Knative wants, nor by a removal.
        said, did = cluster.run("install", "knative", **state)
        assert "--set=serviceAccount.name=istio-ingressgateway-service-account" in said
        assert did == []
        said, did = cluster.run("uninstall", "istio", **state, KINDS="istio")
        assert (named in said, did) == (True, [])


def test_an_old_istio_of_others_is_reported_with_its_owner(cluster: Cluster) -> None:
    old = minor(VERSIONS["ISTIO_OLDEST"], -1)
    state = {
        "INJECTORS": items(CANARY),
        "ISTIODS": istiods(old, revision="canary", namespace="mesh", owner="istiod"),
    }
    for script, action in (("deploy", ""), ("install", "istio")):
        said, did = cluster.run(script, action, **state)
        assert f"Istio {old}, revision canary in mesh, installed by Helm" in said
        assert (len(said.splitlines()), did) == (1, [])


def test_an_istiod_that_is_not_ready_is_reported_before_anything_is_applied(cluster: Cluster) -> None:
    down = istiod(ISTIO)
    down["status"] = {"conditions": [{"type": "Available", "status": "False"}]}
    said, did = cluster.run("deploy", "", ISTIODS=items([down]))
    assert "no pod of its istiod is ready: kubectl get pods --namespace=istio-system" in said
    assert (len(said.splitlines()), did) == (1, [])
    # An installation may mend it, and another control plane that is ready is enough.
    assert cluster.run("install", "istio", ISTIODS=items([down]))[0] == ""
    assert cluster.run("deploy", "", ISTIODS=items([down, istiod(ISTIO, "canary")]))[0] == ""


@pytest.mark.parametrize(
    ("there", "happens"),
    [
        ("", "installed"),
        (definitions(), "stays"),
        (definitions(version="1.2.0", helm="traefik-crd"), "stays"),
        (definitions(channel="experimental"), "stays"),
        (definitions(channel="experimental", manager="todolist", version="1.5.0"), "stays"),
        (definitions(version="1.5.0"), "stays"),
        (definitions(version="1.5.0", manager="todolist"), "installed"),
        (definitions(version="1.0.0", routes=("spec", "rules")), "installed"),
        (definitions(version="1.0.0", routes=("spec", "rules"), helm="traefik-crd"), "refused"),
        (definitions(version="1.0.0", routes=("spec", "rules"), channel="experimental"), "refused"),
    ],
)
def test_a_sufficient_gateway_api_is_kept(there: str, happens: str, cluster: Cluster) -> None:
    answer, said = cluster.ask("mesh", "gateway-api", DEFINITIONS=there)
    assert (answer == "install") is (happens == "installed")
    assert ("httproutes with spec.rules.timeouts" in said) is bool(said) is (happens == "refused")
    # What is missing keeps the application out; what is only not the newest does not.
    lacks = happens == "refused" or "timeouts" not in there
    assert bool(cluster.ask("mesh", "gateway-api-fields", DEFINITIONS=there)[1]) is lacks


def test_the_gateway_api_is_installed_or_the_reason_is_one_line(cluster: Cluster) -> None:
    assert any("standard-install.yaml" in call for call in cluster.run("install", "istio", DEFINITIONS="")[1])
    others = definitions(version="1.0.0", routes=("spec", "rules"), helm="traefik-crd")
    for script, action in (("install", "istio"), ("deploy", "")):
        said, did = cluster.run(script, action, DEFINITIONS=others)
        assert "the Gateway API" in said
        assert (len(said.splitlines()), did) == (1, [])


def test_a_gateway_api_of_others_is_not_removed_with_istio(cluster: Cluster) -> None:
    said, did = cluster.run("uninstall", "istio", KINDS="istio gateway-api", GATEWAY_API_OF="")
    assert said == ""
    assert not any("standard-install.yaml" in call for call in did)
    assert "it was there before" in cluster.output


def service(age: int = 3600, *given: dict[str, str]) -> str:
    """Return the Service of an ingress, as old as this, with the addresses of a load balancer."""
    made = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=age)
    return json.dumps(
        {
            "metadata": {"creationTimestamp": made.strftime("%Y-%m-%dT%H:%M:%SZ")},
            "spec": {"type": "LoadBalancer"},
            "status": {"loadBalancer": {"ingress": list(given)} if given else {}},
        }
    )


def domains(given: str = "", **data: str) -> str:
    annotations = {"todolist/domain": given} if given else {}
    return json.dumps({"metadata": {"annotations": annotations}, "data": {"_example": "x", **data}})


@pytest.mark.parametrize(
    ("there", "ingress", "after"),
    [
        # No load balancer: the name resolves to the port that `make url` forwards.
        (domains(), service(), {"127.0.0.1.sslip.io": ""}),
        (domains(), service(9, {"ip": "203.0.113.7"}), {"203.0.113.7.sslip.io": ""}),
        (domains(), service(9, {"ip": "2001:db8::7"}), {"2001-db8--7.sslip.io": ""}),
        # EKS has a host name; this one resolves here.
        (domains(), service(9, {"hostname": "localhost"}), {"127.0.0.1.sslip.io": ""}),
        # Updated, when the address arrived late or has changed.
        (
            domains(**{"127.0.0.1.sslip.io": ""}),
            service(9, {"ip": "203.0.113.7"}),
            {"127.0.0.1.sslip.io": None, "203.0.113.7.sslip.io": ""},
        ),
        (
            domains("203.0.113.6.sslip.io", **{"203.0.113.6.sslip.io": ""}),
            service(9, {"ip": "203.0.113.7"}),
            {"203.0.113.6.sslip.io": None, "203.0.113.7.sslip.io": ""},
        ),
        # The cluster's own is kept as the only one, also if it looks like ours.
        (domains(**{"knative.example": ""}), service(9, {"ip": "203.0.113.7"}), {}),
        (domains(**{"198.51.100.1.sslip.io": ""}), service(9, {"ip": "203.0.113.7"}), {}),
        (domains(**{"knative.example": "", "127.0.0.1.sslip.io": ""}), service(), {"127.0.0.1.sslip.io": None}),
        # One for some Services only is no default.
        (
            domains(**{"shop.example": "selector:\n  app: shop\n"}),
            service(9, {"ip": "203.0.113.7"}),
            {"203.0.113.7.sslip.io": ""},
        ),
    ],
)
def test_knative_has_one_domain_that_resolves_to_the_ingress(
    there: str, ingress: str, after: dict[str, str | None], cluster: Cluster
) -> None:
    said, did = cluster.run("install", "knative", DOMAIN=there, SERVICE=ingress, INGRESS="there")
    assert said == ""
    (patch,) = [call.partition("--patch=")[2] for call in did if "configmap/config-domain" in call]
    assert json.loads(patch)["data"] == after


APPLICATION = {"KINDS": "istio gateway-api", "DEPLOYED": "istio"}


@pytest.mark.parametrize(
    ("state", "printed"),
    [
        ({"SERVICE": service(9, {"ip": "203.0.113.7"})}, "http://203.0.113.7/\n"),
        (
            {"SERVICE": service(9, {"hostname": "a1.elb.example.com"})},
            "http://a1.elb.example.com/\nIf that name does not",
        ),
        ({"SERVICE": service(9, {"ip": "2001:db8::7"})}, "http://[2001:db8::7]/\n"),
        ({"SERVICE": service()}, "http://localhost:3001/\n"),
    ],
)
def test_url_supports_host_names_and_ip_addresses(state: dict[str, str], printed: str, cluster: Cluster) -> None:
    said, _ = cluster.run("url", "", **APPLICATION, **state)
    assert (said, cluster.output[: len(printed)]) == ("", printed)


@pytest.mark.parametrize(
    ("host", "given", "printed"),
    [
        (
            "todolist.todolist.127.0.0.1.sslip.io",
            {"hostname": "a1.elb.example.com"},
            "curl -H 'Host: todolist.todolist.127.0.0.1.sslip.io' http://a1.elb.example.com/\n"
            "For a browser: `make install-knative`",
        ),
        (
            "todolist.todolist.203.0.113.7.sslip.io",
            {"ip": "203.0.113.7"},
            "http://todolist.todolist.203.0.113.7.sslip.io/   (where that name does not resolve: "
            "curl -H 'Host: todolist.todolist.203.0.113.7.sslip.io' http://203.0.113.7/)\n",
        ),
    ],
)
def test_with_a_load_balancer_no_name_resolves_to_localhost(
    host: str, given: dict[str, str], printed: str, cluster: Cluster
) -> None:
    said, _ = cluster.run("url", "", DEPLOYED="knative", HOST=host, SERVICE=service(9, given))
    assert (said, cluster.output[: len(printed)]) == ("", printed)


def test_a_local_load_balancer_has_a_local_address(cluster: Cluster) -> None:
    # Docker Desktop gives the name localhost, and minikube's tunnel 127.0.0.1.
    for given in ({"hostname": "localhost"}, {"ip": "127.0.0.1"}):
        host = "todolist.todolist.127.0.0.1.sslip.io"
        cluster.run("url", "", DEPLOYED="knative", HOST=host, SERVICE=service(9, given))
        assert cluster.output.startswith(f"http://{host}/ ")


def test_a_new_load_balancer_is_waited_for(cluster: Cluster) -> None:
    late = {"LATE": service(9, {"hostname": "a1.elb.example.com"}), "SERVICE": service(0)}
    said, did = cluster.run("url", "", **APPLICATION, **late)
    assert said == ""
    assert "http://a1.elb.example.com/" in cluster.output
    assert [call for call in did if call.startswith("kubectl wait service/ingress-istio")]


def test_with_tls_the_url_begins_with_https(cluster: Cluster) -> None:
    secured = {**APPLICATION, "GATEWAYS": "ingress-certificate"}
    cluster.run("url", "", **secured, SERVICE=service(9, {"ip": "203.0.113.7"}))
    assert cluster.output.startswith("https://203.0.113.7/\n")
    _, did = cluster.run("url", "", **secured, SERVICE=service())
    assert cluster.output.startswith("https://localhost:3001/\n")
    assert any("port-forward service/ingress-istio 3001:443" in call for call in did)
    cluster.run("traffic", "start", **secured)
    made = (cluster.directory / ".build/traffic/kustomization.yaml").read_text()
    assert "TRAFFIC_URL=https://ingress-istio.todolist.svc.cluster.local\n" in made
    assert "TRAFFIC_CA=/certificate/ca.crt\n" in made


def test_an_existing_prometheus_is_used(cluster: Cluster) -> None:
    url = "http://prometheus.monitoring:9090"
    said, did = cluster.run("install", "kiali", PROMETHEUS_URL=url)
    assert said == ""
    assert f'external_services:\n  prometheus:\n    url: "{url}"\n  tracing:\n    enabled: true\n' in cluster.applied
    assert "image: prometheus/" not in cluster.applied
    assert not any("deployment/prometheus" in call for call in did)
    said, did = cluster.run("install", "kiali", PROMETHEUS_URL="prometheus:9090")
    assert (len(said.splitlines()), did) == (1, [])
    said, _ = cluster.run("install", "kiali", OTHER_PROMETHEUS=f"monitoring {url}")
    assert f"PROMETHEUS_URL={url}" in cluster.output
    said, did = cluster.run("install", "kiali", HELM="prometheus-of-somebody")
    assert "prometheus-of-somebody" in said
    assert (len(said.splitlines()), did) == (1, [])
    assert cluster.run("uninstall", "kiali", HELM="prometheus-of-somebody") == ("", [])


@pytest.mark.parametrize(
    ("node", "platform", "mode"),
    [
        ("v1.35.1+k3s1", "k3s", "ambient"),
        ("k3d v1.35.1+k3s1", "k3d", "cni"),
        ("v1.35.1-gke.7", "gke", "cni"),
        ("v1.35.1", "", "ambient"),
    ],
)
def test_istios_plugin_finds_the_folders_of_the_platform(node: str, platform: str, mode: str, cluster: Cluster) -> None:
    *prefix, version = node.split()
    name = "-".join([*prefix, "server-0"])
    nodes = items([{"metadata": {"name": name, "labels": {}}, "status": {"nodeInfo": {"kubeletVersion": version}}}])
    said, did = cluster.run("install", "istio", MODE=mode, NODES=nodes)
    assert said == ""
    assert f"install/{mode}.yaml" in did[-1]
    assert ("values.global.platform" in did[-1]) is bool(platform)
    assert not platform or did[-1].endswith(f"--set=values.global.platform={platform}")


def test_istios_plugin_is_kept(cluster: Cluster) -> None:
    _, did = cluster.run("install", "istio", CNI="daemonset.apps/istio-cni-node")
    assert "install/cni.yaml" in did[-1]


def test_istiod_is_found_by_its_label(cluster: Cluster) -> None:
    # Two that are ours cannot be: the one of another namespace is not.
    both = items([istiod(ISTIO), istiod(ISTIO, "canary", "mesh")])
    said, did = cluster.run("install", "istio", INJECTORS=items([*DEFAULT, *CANARY]), ISTIODS=both)
    assert said == ""
    assert not any("istioctl" in call for call in did)
