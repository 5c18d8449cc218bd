"""Checks of the cluster that kubectl points at. All of them only read."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from deploy.doctor.finding import (
    AMBIENT,
    IN_CLUSTER,
    ISTIO,
    KIALI,
    KNATIVE,
    MISSING,
    NOTE,
    OK,
    Finding,
    listed,
    minor,
    said,
)

ROOT = Path(__file__).resolve().parent.parent.parent
SETS = (ISTIO, AMBIENT, KNATIVE)
# What each set requests, with its sidecars and what makes it: thousandths of a core, MiB. tests/doctor adds them up.
REQUESTS = {ISTIO: (560, 1536), AMBIENT: (470, 960), KNATIVE: (400, 864)}
ARCHITECTURES = ("amd64", "arm64")
UNITS = {
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
    "k": 10**3,
    "K": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
}
VERSION_IN_IMAGE = re.compile(r":v?(\d+\.\d+(?:\.\d+)?)")
GATEWAY_KINDS = ("gatewayclasses", "gateways", "httproutes", "referencegrants")


@cache
def versions() -> dict[str, str]:
    """Return what deploy/versions.mk names, or the environment, which `make` fills from it."""
    text = (ROOT / "deploy/versions.mk").read_text(encoding="utf-8")
    return {
        name: os.environ.get(name) or value
        for name, value in re.findall(r"^export (\w+) \?= (\S+)$", text, re.MULTILINE)
    }


@cache
def kubectl(*arguments: str) -> tuple[bool, str]:
    """Run kubectl once for each question; return whether it succeeded, and its answer or its last words."""
    return said("kubectl", "--request-timeout=10s", *arguments, timeout=60)


def get(*arguments: str) -> Any:
    """Return an object, or a list of them; nothing where there is none, or where this user may not look."""
    found, text = kubectl("get", *arguments, "--output=json", "--ignore-not-found")
    return json.loads(text) if found and text else {}


def items(*arguments: str) -> list[Any]:
    """Return the objects of a kind."""
    found: list[Any] = get(*arguments).get("items", [])
    return found


def namespace() -> str:
    """Return where the application goes."""
    return os.environ.get("NAMESPACE") or "todolist"


def context() -> str:
    """Return the name of the cluster in kubectl's configuration."""
    return kubectl("config", "current-context")[1]


def client() -> Finding:
    """Kubectl's own version."""
    found, text = kubectl("version", "--client", "--output=json")
    version = json.loads(text)["clientVersion"]["gitVersion"] if found else ""
    oldest = versions()["KUBERNETES_OLDEST"]
    major, number = minor(oldest)
    # Kubernetes promises one minor version of difference.
    if version and minor(version) < (major, number - 1):
        mend = "https://kubernetes.io/docs/tasks/tools/ tells how to update it"
        return Finding("kubectl", NOTE, f"kubectl {version} is too old for Kubernetes {oldest}", IN_CLUSTER, mend)
    return Finding("kubectl", OK, f"kubectl {version}" if version else text, IN_CLUSTER)


def answers() -> Finding:
    """Whether a cluster answers, and knows this user. In kubectl's own words where not."""
    named, words = kubectl("config", "current-context")
    mend = "`make cluster` makes one with kind, or point kubectl at yours"
    if not named:
        return Finding("cluster", MISSING, f"no cluster: kubectl has no context ({words})", IN_CLUSTER, mend)
    reached, text = kubectl("get", "--raw", "/version")
    if not reached:
        if re.search(r"(?i)logged in|unauthorized|credentials|exec plugin|getting token|executable|forbidden", text):
            mend = f"log in to {words} again, or `kubectl config use-context` another one"
            return Finding("cluster", MISSING, f"{words} does not let kubectl in ({text})", IN_CLUSTER, mend)
        return Finding("cluster", MISSING, f"no cluster answers at {words} ({text})", IN_CLUSTER, mend)
    # Anybody may ask for the version: only this says whether kubectl is somebody.
    _, may = kubectl("auth", "can-i", "create", "deployments.apps", f"--namespace={namespace()}")
    if may not in ("yes", "no") and re.search(r"(?i)logged in|unauthorized", may):
        mend = f"log in to {words} again, or `kubectl config use-context` another one"
        return Finding("cluster", MISSING, f"{words} does not let kubectl in ({may})", IN_CLUSTER, mend)
    if not may.startswith("yes"):
        mend = "an administrator gives you the role `admin` there, or choose another NAMESPACE="
        what = f"this user of {words} may not create Deployments in namespace {namespace()}"
        return Finding("cluster", MISSING, what, IN_CLUSTER, mend)
    return Finding("cluster", OK, words, IN_CLUSTER)


def kubernetes() -> Finding:
    """The cluster's version of Kubernetes."""
    found, text = kubectl("get", "--raw", "/version")
    version = json.loads(text).get("gitVersion", "") if found else ""
    oldest, newest = versions()["KUBERNETES_OLDEST"], versions()["KUBERNETES_NEWEST"]
    if version and minor(version) < minor(oldest):
        short = ".".join(map(str, minor(version)))
        what = f"this cluster runs Kubernetes {short}, and {oldest} is the oldest that works"
        return Finding("Kubernetes", MISSING, what, IN_CLUSTER, "update it, or `make cluster`")
    if version and minor(newest) < minor(version):
        return Finding("Kubernetes", NOTE, f"{version}; the newest that was tried is {newest}", IN_CLUSTER)
    return Finding("Kubernetes", OK, version or "it does not say which", IN_CLUSTER)


def nodes() -> list[Finding]:
    """How many there are, on which machines, and which kind of addresses their pods get."""
    found = items("nodes")
    if not found:
        return [Finding("nodes", NOTE, "this user may not list them", IN_CLUSTER)]
    kinds = Counter(node["status"]["nodeInfo"]["architecture"] for node in found)
    runtimes = {node["status"]["nodeInfo"]["containerRuntimeVersion"].partition(":")[0] for node in found}
    rows = []
    others = sorted(set(kinds) - set(ARCHITECTURES))
    what = f"{listed(f'{count} {kind}' for kind, count in sorted(kinds.items()))}, {listed(sorted(runtimes))}"
    if set(kinds) & set(ARCHITECTURES) and len(kinds) > 1:
        mend = "make build push PLATFORMS=linux/amd64,linux/arm64 REGISTRY=…"
        rows.append(Finding("nodes", NOTE, f"{what}: an image must be for all of them", IN_CLUSTER, mend))
    elif others:
        mend = "add a node of amd64 or arm64"
        rows.append(Finding("nodes", MISSING, f"{what}: Istio has no images for {listed(others)}", IN_CLUSTER, mend))
    else:
        rows.append(Finding("nodes", OK, what, IN_CLUSTER))
    ranges = [each for node in found for each in node["spec"].get("podCIDRs", [])]
    addresses = ranges or [a["address"] for node in found for a in node["status"]["addresses"] if "IP" in a["type"]]
    families = {"IPv6" if ":" in each else "IPv4" for each in addresses}
    if families == {"IPv6"}:
        what = "IPv6 alone: images older than this release listen on IPv4 and cannot be reached"
        rows.append(Finding("addresses", NOTE, what, SETS, "make build push deploy"))
    elif families:
        rows.append(Finding("addresses", OK, listed(sorted(families)), SETS))
    return rows


def room() -> Finding:
    """Free CPU and memory, by what pods request, against what the largest set requests."""
    allocatable = [node["status"]["allocatable"] for node in items("nodes") if not node["spec"].get("unschedulable")]
    if not allocatable:
        return Finding("room", NOTE, "unknown: this user may not list nodes", SETS)
    cpu = sum(quantity(each.get("cpu", "0")) for each in allocatable) * 1000
    memory = sum(quantity(each.get("memory", "0")) for each in allocatable) / 2**20
    for pod in items("pods", "--all-namespaces"):
        # Our own are replaced, not added.
        if pod.get("status", {}).get("phase") in ("Succeeded", "Failed") or pod["metadata"]["namespace"] == namespace():
            continue
        for requests in _requests(pod["spec"]):
            cpu -= quantity(requests.get("cpu", "0")) * 1000
            memory -= quantity(requests.get("memory", "0")) / 2**20
    what = f"{cpu / 1000:.1f} CPUs and {memory:,.0f} MiB are not requested by others"
    small = [name for name, (needed, mib) in REQUESTS.items() if cpu < needed or memory < mib]
    if small:
        needed = max(REQUESTS[name][0] for name in small) / 1000
        mib = max(REQUESTS[name][1] for name in small)
        mend = "give the cluster more (kind, Docker Desktop, minikube: in Docker's settings), or remove something"
        return Finding("room", MISSING, f"{what}; {needed} CPUs and {mib:,} MiB are needed", tuple(small), mend)
    return Finding("room", OK, what, SETS)


def _requests(pod: Any) -> Iterator[dict[str, str]]:
    """Yield what the containers of a pod request that run as long as it does."""
    for container in pod.get("containers", []):
        yield container.get("resources", {}).get("requests", {})
    for container in pod.get("initContainers", []):
        if container.get("restartPolicy") == "Always":
            yield container.get("resources", {}).get("requests", {})


def quantity(text: str) -> float:
    """Return a quantity of Kubernetes, such as 100m, 1.5 or 64Mi, as a number."""
    match = re.match(r"([0-9.eE+-]+)([a-zA-Z]*)$", str(text))
    if not match:
        return 0
    number, unit = match.groups()
    return float(number) / 1000 if unit == "m" else float(number) * UNITS.get(unit, 1)


def metrics_server() -> Finding:
    """What the autoscalers read. Without one there are always two pods."""
    service = get("apiservices.apiregistration.k8s.io/v1beta1.metrics.k8s.io")
    if condition(service, "Available"):
        return Finding("metrics server", OK, "it is there", (ISTIO, AMBIENT))
    what = "there is none" if not service else "it is installed and does not answer"
    mend = (
        "minikube addons enable metrics-server"
        if "minikube" in context()
        else ("https://github.com/kubernetes-sigs/metrics-server#installation tells how to install it")
    )
    what += ": `rule` and the others always have two pods, and lesson 14 does not run on Istio"
    return Finding("metrics server", NOTE, what, (ISTIO, AMBIENT), mend)


def condition(thing: Any, name: str) -> bool:
    """Say whether a condition of an object is true."""
    found = thing.get("status", {}).get("conditions", []) if thing else []
    return any(each["type"] == name and each["status"] == "True" for each in found)


def load_balancer() -> Finding:
    """Whether Services of type LoadBalancer get an address from outside."""
    services = [each for each in items("services", "--all-namespaces") if each["spec"].get("type") == "LoadBalancer"]
    given = [
        each for service in services for each in service.get("status", {}).get("loadBalancer", {}).get("ingress", [])
    ]
    if given:
        first = given[0].get("hostname") or given[0].get("ip")
        return Finding("load balancer", OK, f"it gives addresses, such as {first}", SETS)
    if services:
        what = f"{services[0]['metadata']['name']} waits for an address: `make url` forwards a port"
        return Finding("load balancer", NOTE, what, SETS, "minikube tunnel" if "minikube" in context() else "")
    return Finding("load balancer", OK, "nothing uses one yet; without one `make url` forwards a port", SETS)


class ControlPlane:
    """An istiod: where it is, its version and revision, and who installed it."""

    def __init__(self, deployment: Any) -> None:
        metadata, template = deployment["metadata"], deployment["spec"]["template"]
        labels = metadata.get("labels", {})
        self.namespace: str = metadata["namespace"]
        self.revision: str = labels.get("istio.io/rev") or template["metadata"].get("labels", {}).get(
            "istio.io/rev", "default"
        )
        match = VERSION_IN_IMAGE.search(template["spec"]["containers"][0]["image"])
        self.version = match.group(1) if match else ""
        release = metadata.get("annotations", {}).get("meta.helm.sh/release-name", "")
        if release:
            self.installed_by = f"Helm's release {release}"
        elif "install.operator.istio.io/owning-resource" in labels or "operator.istio.io/component" in labels:
            self.installed_by = "istioctl"
        elif self.namespace != "istio-system" or labels.get("addonmanager.kubernetes.io/mode"):
            self.installed_by = "the cloud, as an add-on"
        else:
            self.installed_by = "somebody by hand"

    def __str__(self) -> str:
        """Return what is known of it."""
        return (
            f"{self.version or 'of unknown version'}, revision {self.revision}, in {self.namespace}, "
            f"installed by {self.installed_by}"
        )


def control_planes() -> list[ControlPlane]:
    """Return every istiod of the cluster."""
    return [ControlPlane(each) for each in items("deployments", "--all-namespaces", "--selector=app=istiod")]


def has_kind(name: str) -> bool:
    """Say whether the cluster knows a kind."""
    return kubectl("get", "crd", name, "--output=name")[0]


def istio() -> list[Finding]:
    """Istio: its version and revision, who installed it, and whether a namespace gets sidecars from it."""
    install = "`make install-istio` installs it"
    planes = control_planes()
    if not planes:
        what = "Istio is missing in this cluster"
        if has_kind("virtualservices.networking.istio.io"):
            what = "Istio's kinds are there, and no istiod: it runs outside this cluster, or was half removed"
        return [Finding("Istio", MISSING, what, IN_CLUSTER, install)]
    wanted = versions()["ISTIO_VERSION"]
    plane = next((each for each in planes if each.revision == "default"), planes[0])
    if plane.version and minor(plane.version) < minor(wanted):
        mend = "`make install-istio` updates it" if plane.installed_by == "istioctl" else "update it where it came from"
        what = f"this cluster has Istio {plane.version}, which is older than {wanted}"
        return [Finding("Istio", MISSING, f"{what} (installed by {plane.installed_by})", IN_CLUSTER, mend)]
    rows = [Finding("Istio", OK, str(plane), IN_CLUSTER)]
    if len(planes) > 1:
        rows.append(Finding("Istio", NOTE, f"{len(planes)} control planes: {listed(planes)}", IN_CLUSTER))
    if plane.revision != "default" and not _default_tag():
        what = f"revision {plane.revision} has no default tag: pods under the label istio-injection get no sidecar"
        mend = f"istioctl tag set default --revision={plane.revision}"
        rows.append(Finding("sidecars", NOTE, what, (ISTIO, KNATIVE), mend))
    rows.append(_ambient())
    return rows


def _default_tag() -> bool:
    """Say whether a webhook injects sidecars under the label istio-injection=enabled."""
    return any(
        hook["metadata"].get("labels", {}).get("istio.io/tag") == "default"
        or hook["metadata"].get("labels", {}).get("istio.io/rev") == "default"
        for hook in items("mutatingwebhookconfigurations", "--selector=app=sidecar-injector")
    )


def _ambient() -> Finding:
    ztunnels = items("daemonsets", "--all-namespaces", "--selector=app=ztunnel")
    if not ztunnels:
        mend = "`make install-istio MODE=ambient` installs it"
        return Finding("ambient mode", MISSING, "ambient mode is missing in this cluster", (AMBIENT,), mend)
    status = ztunnels[0].get("status", {})
    ready, wanted = status.get("numberReady", 0), status.get("desiredNumberScheduled", 0)
    if ready < wanted:
        mend = "kubectl describe daemonset/ztunnel --namespace=" + ztunnels[0]["metadata"]["namespace"]
        return Finding("ambient mode", MISSING, f"ztunnel is ready on {ready} of {wanted} nodes", (AMBIENT,), mend)
    return Finding("ambient mode", OK, f"ztunnel on {ready} nodes" if ready > 1 else "ztunnel is there", (AMBIENT,))


def gateway_api() -> Finding:
    """The Gateway API: version, channel, and who it belongs to."""
    definition = get("crd", "gateways.gateway.networking.k8s.io")
    if not definition:
        return Finding(
            "Gateway API", MISSING, "the Gateway API is missing", IN_CLUSTER, "`make install-istio` installs it"
        )
    notes, labels = (definition["metadata"].get(part, {}) for part in ("annotations", "labels"))
    version = notes.get("gateway.networking.k8s.io/bundle-version", "of unknown version")
    channel = notes.get("gateway.networking.k8s.io/channel", "standard")
    managers = [each.get("manager", "") for each in definition["metadata"].get("managedFields", [])]
    owner = (
        notes.get("meta.helm.sh/release-name")
        or ("k3s" if "objectset.rio.cattle.io/id" in notes or "objectset.rio.cattle.io/hash" in labels else "")
        or ("GKE" if any("gke" in each.lower() for each in (*labels, *managers)) else "")
        or ("the cluster's add-on manager" if "addonmanager.kubernetes.io/mode" in labels else "")
        or next((each for each in managers if not each.startswith("kube-apiserver")), "")
        or "unknown"
    )
    what = f"{version}, channel {channel}, owned by {owner}"
    lacking = [kind for kind in GATEWAY_KINDS if not has_kind(f"{kind}.gateway.networking.k8s.io")]
    if lacking:
        return Finding(
            "Gateway API", MISSING, f"{what}, lacks {listed(lacking)}", IN_CLUSTER, "update it where it came from"
        )
    if minor(version) != (0, 0) and minor(version) < (1, 1):
        mend = "update it where it came from" if owner != "kubectl" else "`make install-istio` updates it"
        return Finding("Gateway API", NOTE, f"{what}: older than Istio's releases expect", IN_CLUSTER, mend)
    return Finding("Gateway API", OK, what, IN_CLUSTER)


def knative() -> Finding:
    """Knative Serving: its version, and whether its network layer is Istio."""
    if not has_kind("services.serving.knative.dev"):
        mend = "`make install-knative` installs it"
        return Finding("Knative", MISSING, "Knative Serving is missing in this cluster", (KNATIVE,), mend)
    controller = get("deployment/controller", "--namespace=knative-serving")
    version = controller.get("metadata", {}).get("labels", {}).get("app.kubernetes.io/version", "of unknown version")
    layer = get("configmap/config-network", "--namespace=knative-serving").get("data", {})
    ingress = layer.get("ingress-class") or layer.get("ingress.class") or "istio.ingress.networking.knative.dev"
    if not ingress.startswith("istio"):
        what = f"Knative {version} uses {ingress}, and the Knative set is made for net-istio"
        return Finding("Knative", MISSING, what, (KNATIVE,), "`make install-knative` in a cluster of its own")
    wanted = versions()["KNATIVE_VERSION"]
    if minor(version) != (0, 0) and minor(version) < minor(wanted):
        mend = "`make install-knative` updates it"
        return Finding("Knative", NOTE, f"{version}; {wanted} is what was tried", (KNATIVE,), mend)
    return Finding("Knative", OK, f"{version}, with net-istio", (KNATIVE,))


def kiali() -> Finding:
    """Kiali, and the Prometheus that its graph is made of."""
    lacking = [
        name
        for name in ("kiali", "prometheus")
        if not items("deployments", "--all-namespaces", f"--selector=app.kubernetes.io/name={name}")
    ]
    if lacking:
        return Finding("Kiali", MISSING, f"{listed(lacking)} missing in this cluster", (KIALI,), "`make install-kiali`")
    return Finding("Kiali", OK, "Kiali and Prometheus are there", (KIALI,))


def rules() -> list[Finding]:
    """What the namespace allows: Pod Security, quotas, limits; and whether it is the application's own."""
    name = namespace()
    found = get(f"namespace/{name}")
    if not found:
        return [Finding("namespace", OK, f"{name} is not there yet: `make deploy` makes it", SETS)]
    labels = found["metadata"].get("labels", {})
    rows = []
    if found.get("status", {}).get("phase") == "Terminating":
        rows.append(Finding("namespace", NOTE, f"{name} is being deleted", SETS, "wait, or choose another NAMESPACE="))
    if labels.get("app.kubernetes.io/part-of") != "todolist":
        what = f"{name} is there, and `make deploy` did not make it"
        rows.append(Finding("namespace", MISSING, what, SETS, "choose another NAMESPACE="))
    level = labels.get("pod-security.kubernetes.io/enforce", "")
    if level in ("baseline", "restricted") and not items(
        "daemonsets", "--all-namespaces", "--selector=k8s-app=istio-cni-node"
    ):
        what = f"Pod Security {level}: sidecars need an init container that it refuses, unless istio-cni is there"
        rows.append(
            Finding("Pod Security", NOTE, what, (ISTIO, KNATIVE), "`make install-istio MODE=ambient` brings istio-cni")
        )
    elif level:
        rows.append(Finding("Pod Security", OK, level, SETS))
    rows += map(_quota, items("resourcequotas", f"--namespace={name}"))
    for limit in items("limitranges", f"--namespace={name}"):
        what = f"LimitRange {limit['metadata']['name']}: it may refuse pods, or give their containers other limits"
        rows.append(Finding("limits", NOTE, what, SETS, f"kubectl describe limitrange --namespace={name}"))
    return rows or [Finding("namespace", OK, f"{name}, with no rules of its own", SETS)]


def _quota(quota: Any) -> Finding:
    """Compare what a quota leaves with what a set requests."""
    name, hard, used = quota["metadata"]["name"], quota["status"].get("hard", {}), quota["status"].get("used", {})
    left = {key: quantity(value) - quantity(used.get(key, "0")) for key, value in hard.items()}
    cpu = left.get("requests.cpu", left.get("cpu", float("inf"))) * 1000
    memory = left.get("requests.memory", left.get("memory", float("inf"))) / 2**20
    small = tuple(purpose for purpose, (needed, mib) in REQUESTS.items() if cpu < needed or memory < mib)
    what = f"quota {name} leaves " + listed(f"{value:g} {key}" for key, value in sorted(left.items()))
    # What is deployed already counts as used.
    if small and not get("deployment/todolist", f"--namespace={namespace()}"):
        return Finding("quota", MISSING, what, small, "an administrator raises it, or choose another NAMESPACE=")
    return Finding("quota", NOTE, what, SETS)
