"""Checks of the current cluster. All are read-only.

The preconditions of `make deploy` and `make install-*` are in access.py, mesh.py, namespace.py and platform.py. Here
are the other rows of the table, and the calls of those.
"""

from __future__ import annotations

import os
import platform
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from deploy.doctor import access, mesh, namespace
from deploy.doctor.access import context, get, serves
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
# What each set requests, with its sidecars and control planes: millicores, MiB. Checked by tests/doctor.
REQUESTS = {ISTIO: (560, 1728), AMBIENT: (470, 1152), KNATIVE: (410, 960)}
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


@cache
def settings() -> dict[str, str]:
    """Return the environment, with the defaults of deploy/versions.mk."""
    text = (ROOT / "deploy/versions.mk").read_text(encoding="utf-8")
    return {**dict(re.findall(r"^export (\w+) \?= (\S+)$", text, re.MULTILINE)), **os.environ}


@cache
def readable(*what: str) -> Any:
    """Return a list of objects, or None if it is forbidden."""
    return get(*what)


@cache
def items(*what: str) -> list[Any]:
    """Return the objects of a kind; empty if it is forbidden."""
    found: list[Any] = (readable(*what) or {}).get("items", [])
    return found


@cache
def istios() -> mesh.Mesh:
    """Return the control planes (cached)."""
    return mesh.mesh()


def ours() -> str:
    """Return the namespace of the application."""
    return settings().get("NAMESPACE") or "todolist"


def client() -> Finding:
    """kubectl: its version."""
    return access.kubectl_version(settings())


def permissions() -> list[Finding]:
    """Whether a cluster answers, and what this user may do in it."""
    found = access.answer()
    if found.state == MISSING:
        return [found]
    # Not its exit code, which is 1 for a no.
    _, may = said("kubectl", "auth", "can-i", "create", "deployments.apps", f"--namespace={ours()}")
    if may == "no":
        what = f"this user may not create Deployments in namespace {ours()}"
        fix = "an administrator gives the role `admin` there, or choose another NAMESPACE="
        return [found, Finding("rights", MISSING, what, IN_CLUSTER, fix)]
    return [found]


def kubernetes() -> Finding:
    """The cluster's version of Kubernetes."""
    _, text = said("kubectl", "get", "--raw", "/version")
    match = re.search(r'"gitVersion": *"v([^"]+)', text)
    version = match.group(1) if match else ""
    oldest, newest = settings()["KUBERNETES_OLDEST"], settings()["KUBERNETES_NEWEST"]
    if version and minor(version) < minor(oldest):
        short = ".".join(map(str, minor(version)))
        what = f"this cluster runs Kubernetes {short}, and {oldest} is the oldest that works"
        fix = "update it, or `make cluster` makes one with kind"
        if context() == "kind-todolist":
            fix = "`make cluster-delete cluster` makes a newer one"
        return Finding("Kubernetes", MISSING, what, IN_CLUSTER, fix)
    if version and minor(newest) < minor(version):
        what = f"this cluster runs Kubernetes {version}; the newest that was tried is {newest}"
        return Finding("Kubernetes", NOTE, what, IN_CLUSTER)
    return Finding("Kubernetes", OK, version or "of unknown version", IN_CLUSTER)


def nodes() -> list[Finding]:
    """The nodes: number, architectures, and address families of their pods."""
    if readable("nodes") is None:
        return [Finding("nodes", NOTE, "this user may not list them", IN_CLUSTER)]
    found = [node for node in items("nodes") if not is_windows(node)]
    if not found:
        what = "there is no node of Linux yet: some clusters, such as GKE Autopilot, add them when there are pods"
        return [Finding("nodes", NOTE, what, IN_CLUSTER)]
    broken = [node["metadata"]["name"] for node in found if not is_ready(node)]
    kinds = Counter(node["status"]["nodeInfo"]["architecture"] for node in found)
    runtimes = {node["status"]["nodeInfo"]["containerRuntimeVersion"].partition(":")[0] for node in found}
    rows = []
    others = sorted(set(kinds) - set(ARCHITECTURES))
    what = f"{listed(f'{count} {kind}' for kind, count in sorted(kinds.items()))}, {listed(sorted(runtimes))}"
    if set(kinds) & set(ARCHITECTURES) and len(kinds) > 1:
        fix = "make build push PLATFORMS=linux/amd64,linux/arm64 REGISTRY=…"
        rows.append(Finding("nodes", NOTE, f"{what}: an image must be for all of them", IN_CLUSTER, fix))
    elif others:
        fix = "add a node of amd64 or arm64"
        rows.append(Finding("nodes", MISSING, f"{what}: Istio has no images for {listed(others)}", IN_CLUSTER, fix))
    elif not set(kinds) & here():
        fix = f"make build push PLATFORMS=linux/{next(iter(kinds))} REGISTRY=…"
        what += f": an image that is built here is for {listed(sorted(here()))}, and does not start there"
        rows.append(Finding("nodes", NOTE, what, IN_CLUSTER, fix))
    else:
        rows.append(Finding("nodes", OK, what, IN_CLUSTER))
    if broken:
        what = f"not ready: {listed(broken)}"
        rows.append(Finding("nodes", NOTE, what, IN_CLUSTER, f"kubectl describe node {broken[0]}"))
    ranges = [each for node in found for each in node["spec"].get("podCIDRs", [])]
    addresses = ranges or [a["address"] for node in found for a in node["status"]["addresses"] if "IP" in a["type"]]
    families = {"IPv6" if ":" in each else "IPv4" for each in addresses}
    if families == {"IPv6"}:
        what = "IPv6 alone: images older than 1.0.0 listen on IPv4 and cannot be reached"
        rows.append(Finding("addresses", NOTE, what, SETS, "make build push deploy"))
    elif families:
        rows.append(Finding("addresses", OK, listed(sorted(families)), SETS))
    return rows


def here() -> set[str]:
    """Return the architecture of this machine, as in image platforms."""
    names = {"x86_64": "amd64", "aarch64": "arm64"}
    return {names.get(platform.machine().lower(), platform.machine().lower())}


def is_windows(node: Any) -> bool:
    """Return whether a node runs Windows, and so none of our pods."""
    return bool(node["status"]["nodeInfo"].get("operatingSystem") == "windows")


def is_ready(node: Any) -> bool:
    """Return whether a node is ready, or has no such condition."""
    conditions = node["status"].get("conditions", [])
    return not any(each["type"] == "Ready" and each["status"] != "True" for each in conditions)


def usable(node: Any) -> bool:
    """Return whether our pods, which have no tolerations, can run on a node."""
    taints = node["spec"].get("taints") or []
    kept_out = node["spec"].get("unschedulable") or any(t.get("effect") in ("NoSchedule", "NoExecute") for t in taints)
    return not kept_out and not is_windows(node) and is_ready(node)


def room() -> Finding:
    """Free CPU and memory, by the requests of pods, compared with the requests of each set."""
    for kind in (("nodes",), ("pods", "--all-namespaces")):
        if readable(*kind) is None:
            return Finding("room", NOTE, f"unknown: this user may not list {kind[0]}", SETS)
    there = {node["metadata"]["name"]: node for node in items("nodes")}
    allocatable = [node["status"]["allocatable"] for node in there.values() if usable(node)]
    if not there:
        return Finding("room", NOTE, "unknown: there is no node yet", SETS)
    cpu = sum(quantity(each.get("cpu", "0")) for each in allocatable) * 1000
    memory = sum(quantity(each.get("memory", "0")) for each in allocatable) / 2**20
    for pod in items("pods", "--all-namespaces"):
        # Our own are replaced, not added.
        if pod.get("status", {}).get("phase") in ("Succeeded", "Failed") or pod["metadata"]["namespace"] == ours():
            continue
        # Pods on unusable nodes, such as the control plane, use nothing of the others.
        if (on := there.get(pod["spec"].get("nodeName", ""))) and not usable(on):
            continue
        for requests in _requests(pod["spec"]):
            cpu -= quantity(requests.get("cpu", "0")) * 1000
            memory -= quantity(requests.get("memory", "0")) / 2**20
    what = f"{cpu / 1000:.1f} CPUs and {memory:,.0f} MiB are not requested by others"
    small = [name for name, (needed, mib) in REQUESTS.items() if cpu < needed or memory < mib]
    if small:
        needed = max(REQUESTS[name][0] for name in small) / 1000
        mib = max(REQUESTS[name][1] for name in small)
        fix = "give the cluster more (kind, Docker Desktop, minikube: in Docker's settings), or remove something"
        return Finding("room", MISSING, f"{what}; {needed} CPUs and {mib:,} MiB are needed", tuple(small), fix)
    return Finding("room", OK, what, SETS)


def _requests(pod: Any) -> Iterator[dict[str, str]]:
    """Yield the requests of the containers of a pod, including sidecars but not other init containers."""
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
    """The metrics server, which the autoscalers need."""
    service = get("apiservices.apiregistration.k8s.io/v1beta1.metrics.k8s.io")
    if condition(service, "Available"):
        return Finding("metrics server", OK, "it is there", (ISTIO, AMBIENT))
    what = "there is none" if not service else "it is installed and does not answer"
    fix = (
        "minikube addons enable metrics-server"
        if "minikube" in context()
        else ("https://github.com/kubernetes-sigs/metrics-server#installation explains how to install it")
    )
    what += ": `rule` and the others always have two pods, and lesson 14 does not run on Istio"
    return Finding("metrics server", NOTE, what, (ISTIO, AMBIENT), fix)


def condition(thing: Any, name: str) -> bool:
    """Return whether a condition of an object is true."""
    found = thing.get("status", {}).get("conditions", []) if thing else []
    return any(each["type"] == name and each["status"] == "True" for each in found)


def load_balancer() -> Finding:
    """Whether Services of type LoadBalancer get an external address."""
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


def istio() -> list[Finding]:
    """Istio: its version, revision and installer, and whether it injects sidecars."""
    found = [mesh.istio(istios(), settings())]
    if found[0].state != MISSING:
        _, sidecars = mesh.label(istios(), environment=settings())
        if sidecars.state == MISSING:
            found.append(sidecars._replace(subject="sidecars", good_for=(ISTIO, KNATIVE)))
    return found


def ambient() -> Finding:
    """Ambient mode: ztunnel, on every node."""
    found = mesh.daemonsets("ambient")
    if found is None:
        return Finding("ambient mode", NOTE, "this user may not look for it", (AMBIENT,))
    if not found:
        fix = "`make install-istio MODE=ambient` installs it"
        return Finding("ambient mode", MISSING, "ambient mode is missing in this cluster", (AMBIENT,), fix)
    for each in found:
        ready, wanted = (each.get("status", {}).get(name, 0) for name in ("numberReady", "desiredNumberScheduled"))
        if ready < wanted:
            fix = f"kubectl describe daemonset/{each['metadata']['name']} --namespace={each['metadata']['namespace']}"
            return Finding("ambient mode", NOTE, f"ztunnel is ready on {ready} of {wanted} nodes", (AMBIENT,), fix)
    return Finding("ambient mode", OK, "ztunnel is there", (AMBIENT,))


def gateway_api() -> Finding:
    """The Gateway API: its version, channel and installer."""
    found = mesh.gateway_api(settings())
    # `make install-istio` installs it; in this table it is missing.
    return found._replace(state=MISSING) if found.state == NOTE and found.fix else found


def knative() -> Finding:
    """Knative Serving: its version, and whether its network layer is Istio. And whether Eventing is there, too."""
    if not serves("serving.knative.dev"):
        fix = "`make install-knative` installs it"
        return Finding("Knative", MISSING, "Knative Serving is missing in this cluster", (KNATIVE,), fix)
    controller = get("deployment/controller", "--namespace=knative-serving") or {}
    version = controller.get("metadata", {}).get("labels", {}).get("app.kubernetes.io/version", "of unknown version")
    layer = (get("configmap/config-network", "--namespace=knative-serving") or {}).get("data") or {}
    ingress = layer.get("ingress-class") or layer.get("ingress.class") or "istio.ingress.networking.knative.dev"
    if not ingress.startswith("istio"):
        what = f"Knative {version} uses {ingress}, and the Knative set is made for net-istio"
        return Finding("Knative", MISSING, what, (KNATIVE,), "`make install-knative` in a cluster of its own")
    wanted = settings()["KNATIVE_VERSION"]
    if minor(version) != (0, 0) and minor(version) < minor(wanted):
        fix = "`make install-knative` updates it"
        return Finding("Knative", NOTE, f"{version}; {wanted} is what was tried", (KNATIVE,), fix)
    events = (
        " and Eventing"
        if serves("eventing.knative.dev")
        else "; without Eventing `rule` sends its events to `user` itself"
    )
    return Finding("Knative", OK, f"{version}, with net-istio{events}", (KNATIVE,))


def kiali() -> Finding:
    """Kiali, and the Prometheus that its graph needs."""
    lacking = [
        name
        for name in ("kiali", "prometheus")
        if not items("deployments", "--all-namespaces", f"--selector=app.kubernetes.io/name={name}")
    ]
    if lacking:
        return Finding("Kiali", MISSING, f"{listed(lacking)} missing in this cluster", (KIALI,), "`make install-kiali`")
    return Finding("Kiali", OK, "Kiali and Prometheus are there", (KIALI,))


def rules() -> list[Finding]:
    """The namespace: its owner, and what its Pod Security, quotas and limits allow."""
    found = get("namespace", ours())
    rows = [namespace.whose(ours(), found, settings())]
    if not found:
        return rows
    if found.get("status", {}).get("phase") == "Terminating":
        what = f"{ours()} is being deleted: `make deploy` waits until it is gone"
        rows.append(Finding("namespace", NOTE, what, SETS))
    rows.append(namespace.pod_security(ours(), found, "istio")._replace(good_for=(ISTIO, KNATIVE)))
    rows.append(namespace.way_in(ours(), "istio", settings()))
    rows += map(_quota, items("resourcequotas", f"--namespace={ours()}"))
    for limit in items("limitranges", f"--namespace={ours()}"):
        what = f"LimitRange {limit['metadata']['name']}: it may refuse pods, or give their containers other limits"
        rows.append(Finding("limits", NOTE, what, SETS, f"kubectl describe limitrange --namespace={ours()}"))
    return rows


def _quota(quota: Any) -> Finding:
    """Compare the rest of a quota with the requests of the sets."""
    name, hard, used = quota["metadata"]["name"], quota["status"].get("hard", {}), quota["status"].get("used", {})
    left = {key: quantity(value) - quantity(used.get(key, "0")) for key, value in hard.items()}
    cpu = left.get("requests.cpu", left.get("cpu", float("inf"))) * 1000
    memory = left.get("requests.memory", left.get("memory", float("inf"))) / 2**20
    small = tuple(purpose for purpose, (needed, mib) in REQUESTS.items() if cpu < needed or memory < mib)
    what = f"quota {name} leaves " + listed(f"{amount(key, value)} {key}" for key, value in sorted(left.items()))
    # If the application is deployed, it is already counted as used.
    if small and not get("deployment/todolist", f"--namespace={ours()}"):
        return Finding("quota", MISSING, what, small, "an administrator raises it, or choose another NAMESPACE=")
    return Finding("quota", NOTE, what, SETS)


def amount(key: str, value: float) -> str:
    """Return an amount of a quota in a readable unit."""
    return f"{value / 2**20:,.0f} MiB" if key.endswith(("memory", "storage")) else f"{value:g}"
