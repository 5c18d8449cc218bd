"""Existing components of a cluster, by a stand-in: an Istio, a Gateway API, a domain of Knative, a Prometheus."""

import datetime
import json
import runpy
from typing import Any

import pytest

from tests.manifests.conftest import injector, istiod
from tests.manifests.stand_in import ISTIO, Cluster, definitions, istiods, items, minor
from tests.manifests.test_versions import VERSIONS
from tests.support import ROOT

# As the charts and istioctl, the add-on of AKS, and the managed control plane of GKE set them up.
DEFAULT = [injector()]
CANARY = [injector("canary")]
TAGGED = [injector("canary"), injector("canary", tag="default")]
PROD = [injector("canary"), injector("canary", tag="prod")]
AKS = [injector("asm-1-29", "aks-istio-system")]
GKE = [injector("asm-managed", "")]
ELSEWHERE = [injector(namespace="mesh", owner="istiod")]
TWO = [*CANARY, *AKS]


def without(mark: str, *more: str) -> Any:
    """Return an istiod without some labels that istioctl or `make install-istio` sets."""
    found = istiod(ISTIO)
    for name in (mark, *more):
        del found["metadata"]["labels"][name]
    return found


def test_the_namespace_gets_the_label_of_the_installed_istio(cluster: Cluster) -> None:
    default = "istio-injection=enabled"
    for injectors, label in (
        (DEFAULT, default),
        (TAGGED, default),
        (ELSEWHERE, default),
        (CANARY, "istio.io/rev=canary"),
        (PROD, "istio.io/rev=canary"),
        (AKS, "istio.io/rev=asm-1-29"),
        (GKE, "istio.io/rev=asm-managed"),
    ):
        there = {"INJECTORS": items(*injectors), "ISTIODS": items()}
        assert cluster.ask("mesh", "label", "istio", "todolist", **there) == (label, "")
    # As the last one, in the namespace that `make deploy` applies; Knative's own pods need the same.
    cluster.run("deploy", **there)
    kustomization = (cluster.directory / ".build/deploy/namespace/kustomization.yaml").read_text()
    assert 'labels: {istio-injection: null, istio.io/rev: "asm-managed"}' in kustomization
    did = cluster.run("install", "knative", **there, INGRESS="there")
    assert "kubectl label namespace knative-serving istio.io/rev=asm-managed --overwrite" in did


def test_of_several_revisions_one_has_to_be_selected(cluster: Cluster) -> None:
    label = ("mesh", "label", "istio", "todolist")
    said = cluster.ask(*label, INJECTORS=items(*TWO), ISTIODS=items())[1]
    assert "choose one: ISTIO_REVISION=asm-1-29 or ISTIO_REVISION=canary" in said
    assert "aks-istio-system" in said
    assert cluster.ask(*label, INJECTORS=items(*TWO), ISTIO_REVISION="canary")[0] == "istio.io/rev=canary"
    assert "none is no revision" in cluster.ask(*label, INJECTORS=items(*TWO), ISTIO_REVISION="none")[1]
    # What an earlier deployment chose stays.
    labels = {"app.kubernetes.io/part-of": "todolist", "istio.io/rev": "canary"}
    chosen = json.dumps({"metadata": {"name": "todolist", "labels": labels}})
    assert cluster.ask(*label, INJECTORS=items(*TWO), NAMESPACE_THERE=chosen)[0] == "istio.io/rev=canary"


HELM = {"INJECTORS": items(*ELSEWHERE), "ISTIODS": istiods(ISTIO, namespace="mesh", owner="istiod")}
BY_ISTIOCTL = {"ISTIODS": items(without("installed-by"))}


def test_no_second_istio_is_installed(cluster: Cluster) -> None:
    both = items(istiod(ISTIO), istiod(ISTIO, "canary", "mesh"))
    for state, named in (
        (
            {"INJECTORS": items(*CANARY), "ISTIODS": istiods(ISTIO, revision="canary")},
            "revision canary in istio-system",
        ),
        ({"INJECTORS": items(*DEFAULT, *CANARY), "ISTIODS": both}, "revision canary in mesh"),
        (HELM, "by Helm"),
        # Rendered by `helm template` or Argo CD: it has no mark.
        ({"ISTIODS": items(without("operator.istio.io/managed", "installed-by"))}, "default in istio-system: it"),
        (BY_ISTIOCTL, "default in istio-system, installed by istioctl"),
        ({"INJECTORS": items(*GKE), "ISTIODS": items()}, "asm-managed, outside of the cluster"),
        (
            {"INJECTORS": items(*AKS), "ISTIODS": istiods(ISTIO, revision="asm-1-29", namespace="aks-istio-system")},
            "by the cloud",
        ),
    ):
        answer, said = cluster.ask("mesh", "install", **state)
        assert (named in answer, said) == (True, "")
        # What an earlier version of ours made looks the same.
        assert ("kubectl label deployment/istiod" in answer) is (state == BY_ISTIOCTL)
        assert named.removesuffix(": it") in cluster.ask("mesh", "removal", **state)[1]
    assert not any("istioctl" in call for call in cluster.run("install", "istio", **HELM))
    assert "by Helm" in cluster.output
    # Neither for an ingress that Knative needs, nor by a removal.
    ingress = "--set=serviceAccount.name=istio-ingressgateway-service-account"
    assert ingress in cluster.refusal("install", "knative", **HELM)
    assert "by Helm" in cluster.refusal("uninstall", "istio", **HELM, KINDS="istio")


def test_an_old_istio_of_others_is_reported_with_its_owner(cluster: Cluster) -> None:
    old = minor(VERSIONS["ISTIO_OLDEST"], -1)
    state = {
        "INJECTORS": items(*CANARY),
        "ISTIODS": istiods(old, revision="canary", namespace="mesh", owner="istiod"),
    }
    for question in ("istio", "install"):
        assert f"Istio {old}, revision canary in mesh, installed by Helm" in cluster.ask("mesh", question, **state)[1]


def test_an_istiod_that_is_not_ready_is_reported(cluster: Cluster) -> None:
    down = istiod(ISTIO)
    down["status"] = {"conditions": [{"type": "Available", "status": "False"}]}
    said = cluster.ask("mesh", "istio", ISTIODS=items(down))[1]
    assert "no pod of its istiod is ready: kubectl get pods --namespace=istio-system" in said
    # An installation may mend it, and another control plane that is ready is enough.
    assert cluster.ask("mesh", "install", ISTIODS=items(down)) == ("install", "")
    assert cluster.ask("mesh", "istio", ISTIODS=items(down, istiod(ISTIO, "canary")))[1] == ""


def test_a_sufficient_gateway_api_is_kept(cluster: Cluster) -> None:
    old: dict[str, Any] = {"version": "1.0.0", "routes": ("spec", "rules")}
    for there, happens in (
        ("", "installed"),
        (definitions(), "stays"),
        (definitions(version="1.2.0", helm="traefik-crd"), "stays"),
        (definitions(channel="experimental"), "stays"),
        (definitions(channel="experimental", manager="todolist", version="1.5.0"), "stays"),
        (definitions(version="1.5.0"), "stays"),
        (definitions(version="1.5.0", manager="todolist"), "installed"),
        (definitions(**old), "installed"),
        (definitions(**old, channel="experimental"), "refused"),
        (definitions(**old, helm="traefik-crd"), "refused"),
    ):
        answer, said = cluster.ask("mesh", "gateway-api", DEFINITIONS=there)
        assert (answer == "install") is (happens == "installed"), there
        assert ("httproutes with spec.rules.timeouts" in said) is bool(said) is (happens == "refused"), there
        # What is missing keeps the application out; what is only not the newest does not.
        lacks = happens == "refused" or "timeouts" not in there
        assert bool(cluster.ask("mesh", "gateway-api-fields", DEFINITIONS=there)[1]) is lacks, there


def service(age: int = 3600, *given: dict[str, str]) -> str:
    """Return the Service of an ingress, as old as this, with the addresses of a load balancer."""
    made = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=age)
    metadata = {"creationTimestamp": made.strftime("%Y-%m-%dT%H:%M:%SZ")}
    status = {"loadBalancer": {"ingress": list(given)} if given else {}}
    return json.dumps({"metadata": metadata, "spec": {"type": "LoadBalancer"}, "status": status})


def domains(given: str = "", **data: str) -> str:
    annotations = {"todolist/domain": given} if given else {}
    return json.dumps({"metadata": {"annotations": annotations}, "data": {"_example": "x", **data}})


OF_A_CLOUD = service(9, {"ip": "203.0.113.7"})


@pytest.mark.parametrize(
    ("there", "ingress", "after"),
    [
        # No load balancer: the name resolves to the port that `make url` forwards.
        (domains(), service(), {"127.0.0.1.sslip.io": ""}),
        (domains(), OF_A_CLOUD, {"203.0.113.7.sslip.io": ""}),
        (domains(), service(9, {"ip": "2001:db8::7"}), {"2001-db8--7.sslip.io": ""}),
        # EKS has a host name; this one resolves here.
        (domains(), service(9, {"hostname": "localhost"}), {"127.0.0.1.sslip.io": ""}),
        # Updated, when the address arrived late or has changed.
        (domains(**{"127.0.0.1.sslip.io": ""}), OF_A_CLOUD, {"127.0.0.1.sslip.io": None, "203.0.113.7.sslip.io": ""}),
        (
            domains("203.0.113.6.sslip.io", **{"203.0.113.6.sslip.io": ""}),
            OF_A_CLOUD,
            {"203.0.113.6.sslip.io": None, "203.0.113.7.sslip.io": ""},
        ),
        # The cluster's own is kept as the only one, also if it looks like ours.
        (domains(**{"knative.example": ""}), OF_A_CLOUD, {}),
        (domains(**{"198.51.100.1.sslip.io": ""}), OF_A_CLOUD, {}),
        (domains(**{"knative.example": "", "127.0.0.1.sslip.io": ""}), service(), {"127.0.0.1.sslip.io": None}),
        # One for some Services only is no default.
        (domains(**{"shop.example": "selector:\n  app: shop\n"}), OF_A_CLOUD, {"203.0.113.7.sslip.io": ""}),
    ],
)
def test_knative_has_one_domain_that_resolves_to_the_ingress(
    there: str, ingress: str, after: dict[str, str | None], cluster: Cluster
) -> None:
    set_domain = runpy.run_path(str(ROOT / "deploy/scripts/address.py"))["set_domain"]
    with cluster.current(DOMAIN=there, SERVICE=ingress) as changes:
        set_domain("istio-ingressgateway", "istio-system")
        (patch,) = [call.partition("--patch=")[2] for call in changes() if "configmap/config-domain" in call]
    assert json.loads(patch)["data"] == after


APPLICATION = {"KINDS": "istio gateway-api", "DEPLOYED": "istio"}


def url(cluster: Cluster, **state: str) -> str:
    cluster.run("url", **state)
    return cluster.output


def test_url_supports_host_names_and_ip_addresses(cluster: Cluster) -> None:
    ip = url(cluster, **APPLICATION, SERVICE=service(9, {"ip": "2001:db8::7"}))
    assert ip.startswith("http://[2001:db8::7]/\n")
    assert url(cluster, **APPLICATION, SERVICE=service()).startswith("http://localhost:3001/\n")
    secured = {**APPLICATION, "GATEWAYS": "ingress-certificate", "SERVICE": service()}
    assert url(cluster, **secured).startswith("https://localhost:3001/\n")
    assert any("port-forward service/ingress-istio 3001:443" in call for call in cluster.changes())
    # A new load balancer is waited for.
    late = {"LATE": service(9, {"hostname": "a1.elb.example.com"}), "SERVICE": service(0)}
    named = url(cluster, **APPLICATION, **late)
    assert named.startswith("http://a1.elb.example.com/\nIf that name does not")
    assert any(call.startswith("kubectl wait service/ingress-istio") for call in cluster.changes())


def test_on_knative_a_name_resolves_to_localhost_only_without_a_load_balancer(cluster: Cluster) -> None:
    local, host = "todolist.todolist.127.0.0.1.sslip.io", "todolist.todolist.203.0.113.7.sslip.io"
    elb = f"curl -H 'Host: {local}' http://a1.elb.example.com/\nFor a browser: `make install-knative`"
    ip = f"http://{host}/   (where that name does not resolve: curl -H 'Host: {host}' http://203.0.113.7/)\n"
    for name, given, printed in (
        (local, {"hostname": "a1.elb.example.com"}, elb),
        (host, {"ip": "203.0.113.7"}, ip),
        # Docker Desktop's; minikube's tunnel gives 127.0.0.1.
        (local, {"hostname": "localhost"}, f"http://{local}/ "),
    ):
        assert url(cluster, DEPLOYED="knative", HOST=name, SERVICE=service(9, given)).startswith(printed)


def test_an_existing_prometheus_is_used(cluster: Cluster) -> None:
    address, helm = "http://prometheus.monitoring:9090", "prometheus-of-a-release"
    did = cluster.run("install", "kiali", PROMETHEUS_URL=address)
    prometheus = f'external_services:\n  prometheus:\n    url: "{address}"\n  tracing:\n    enabled: true\n'
    assert prometheus in cluster.applied
    assert "image: prometheus/" not in cluster.applied
    assert not any("deployment/prometheus" in call for call in did)
    assert helm in cluster.refusal("install", "kiali", HELM=helm, OTHER_PROMETHEUS=f"monitoring {address}")
    assert f"PROMETHEUS_URL={address}" in cluster.output
    assert cluster.run("uninstall", "kiali", HELM=helm) == []


def test_istios_plugin_finds_the_folders_of_the_platform_and_is_kept(cluster: Cluster) -> None:
    def nodes(name: str, version: str) -> str:
        return items({"metadata": {"name": name}, "status": {"nodeInfo": {"kubeletVersion": version}}})

    for version, platform in (("v1.35.1+k3s1", "k3s"), ("v1.35.1-gke.7", "gke"), ("v1.35.1", "")):
        assert cluster.ask("platform", "cni", NODES=nodes("node", version)) == (platform, "")
    *_, last = cluster.run("install", "istio", CNI="istio-cni-node", NODES=nodes("k3d-server-0", "v1.35.1+k3s1"))
    assert "install/cni.yaml" in last
    assert last.endswith("--set=values.global.platform=k3d")
