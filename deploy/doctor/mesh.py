"""Checks of an existing mesh: Istio's version, installer and injection label; the Gateway API.

`python3 -m deploy.doctor.mesh CHECK [ARGUMENT...]`, for the scripts, prints the answer, or exits with 1 and one line
that names the problem.
    label TARGET [NAMESPACE]   the namespace label for sidecar injection, such as istio.io/rev=X
    istio                      nothing, if there is an Istio that the sets work with
    install                    `install`, or what is installed and kept
    removal                    nothing, if `make uninstall-istio` may remove the installed Istio
    gateway-api                `install`, or what is installed and kept
    gateway-api-fields         nothing, if it has the fields that the sets use
    parts                      which of ambient and cni this cluster's Istio has
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from deploy.doctor.access import get, serves
from deploy.doctor.finding import IN_CLUSTER, MISSING, NOTE, OK, Finding, listed, minor, reply

DEFAULT = {"istio-injection": "enabled"}
USUAL = "istio-injection=enabled"
# The labels of our pods, for the selectors of injectors.
POD = {"app": "todolist"}
REVISION, TAG = "istio.io/rev", "istio.io/tag"
ISTIOCTL, HELM = "istioctl", "Helm"
# The field manager with which `make install-istio` applies.
MANAGER = "todolist"


# The label of istiod's Deployment that only `make install-istio` sets (deploy/install/istio.yaml).
OUR_LABEL, OUR_VALUE = "installed-by", "todolist"
# The marks of pods with a sidecar, and of those that a ztunnel serves.
TLS_MODE, REDIRECTION = "security.istio.io/tlsMode", "ambient.istio.io/redirection"
# The DaemonSets of Istio's components.
PARTS = {"ambient": "app.kubernetes.io/name=ztunnel", "cni": "k8s-app=istio-cni-node"}


class ControlPlane(NamedTuple):
    """An Istio control plane. namespace: "" if outside of the cluster; version, owner: "" if unknown.

    marked: whether it has the label that only `make install-istio` sets; down: whether no pod of istiod is ready.
    """

    revision: str
    namespace: str
    version: str = ""
    owner: str = ""
    marked: bool = False
    down: bool = False

    def __str__(self) -> str:
        """Return it as a phrase: Istio 1.2.3, revision canary in istio-system, installed by Helm."""
        version = f"Istio {self.version}" if self.version else "Istio"
        where = f" in {self.namespace}" if self.namespace else ", outside of the cluster"
        return f"{version}, revision {self.revision}{where}{f', installed by {self.owner}' if self.owner else ''}"

    def is_ours(self) -> bool:
        """Return whether `make install-istio` installed it, and so may update it."""
        return self.revision == "default" and self.namespace == "istio-system" and self.marked


class Mesh(NamedTuple):
    """The control planes of the cluster. injectors: None if reading them is forbidden."""

    planes: list[ControlPlane]
    injectors: list[Any] | None


def mesh() -> Mesh:
    """Find the control planes: by the webhooks for sidecar injection, and by the Deployments."""
    webhooks = get("mutatingwebhookconfigurations", "--selector=app=sidecar-injector")
    deployments = (get("deployments", "--all-namespaces", "--selector=app=istiod") or {}).get("items", [])
    injectors = None if webhooks is None else webhooks.get("items", [])
    found = {}
    for injector in injectors or []:
        revision = labels(injector).get(REVISION, "default")
        services = [hook["clientConfig"].get("service", {}) for hook in injector.get("webhooks", [])]
        namespace = next((service.get("namespace", "") for service in services), "")
        if TAG not in labels(injector):
            found[revision, namespace] = ControlPlane(
                revision, namespace, owner=owner(injector) or ("" if namespace else "the cloud")
            )
    for deployment in deployments:
        revision = labels(deployment).get(REVISION, "default")
        namespace = deployment["metadata"]["namespace"]
        marked = labels(deployment).get(OUR_LABEL) == OUR_VALUE
        who = owner(deployment)
        if marked and who in ("", ISTIOCTL):
            who = "`make install-istio`"
        found[revision, namespace] = ControlPlane(
            revision, namespace, version_of(deployment), who, marked, is_down(deployment)
        )
    return Mesh([found[key] for key in sorted(found)], injectors)


def labels(thing: Any) -> dict[str, str]:
    """Return the labels of an object."""
    found: dict[str, str] = thing["metadata"].get("labels") or {}
    return found


def owner(thing: Any) -> str:
    """Return the tool that manages an object, or ""."""
    annotations = thing["metadata"].get("annotations") or {}
    if "meta.helm.sh/release-name" in annotations:
        return HELM
    if thing["metadata"].get("namespace") == "aks-istio-system" or "addonmanager.kubernetes.io/mode" in labels(thing):
        return "the cloud"
    if "objectset.rio.cattle.io/owner-name" in annotations:
        return "k3s"
    if any(entry.get("manager") == MANAGER for entry in thing["metadata"].get("managedFields", [])):
        return MANAGER
    return ISTIOCTL if "operator.istio.io/managed" in labels(thing) else ""


def is_down(deployment: Any) -> bool:
    """Return whether no pod of a Deployment is ready."""
    conditions = deployment.get("status", {}).get("conditions", [])
    return any(each["type"] == "Available" and each["status"] == "False" for each in conditions)


def version_of(deployment: Any) -> str:
    """Return the version of istiod from its image, or ""."""
    containers = deployment["spec"]["template"]["spec"]["containers"]
    found = re.search(r":v?(\d+\.\d+\.\d+)", containers[0].get("image", ""))
    return found[1] if found else ""


def matches(selector: Mapping[str, Any], marks: Mapping[str, str]) -> bool:
    """Return whether a label selector matches these labels."""
    for name, value in (selector.get("matchLabels") or {}).items():
        if marks.get(name) != value:
            return False
    for wanted in selector.get("matchExpressions") or []:
        name, operator, values = wanted["key"], wanted["operator"], wanted.get("values") or []
        has = marks.get(name)
        if not {
            "In": has in values,
            "NotIn": has not in values,
            "Exists": has is not None,
            "DoesNotExist": has is None,
        }[operator]:
            return False
    return True


def injects(injectors: list[Any], namespace: Mapping[str, str]) -> bool:
    """Return whether our pods get a sidecar in a namespace with these labels."""
    return any(
        matches(hook.get("namespaceSelector") or {}, namespace) and matches(hook.get("objectSelector") or {}, POD)
        for injector in injectors
        for hook in injector.get("webhooks", [])
    )


def by_revision(found: Mesh) -> list[str]:
    """Return the revisions and tags that inject sidecars; a tag only in place of its revision."""
    injectors = found.injectors or []
    names = {labels(injector).get(TAG) or labels(injector).get(REVISION, "default") for injector in injectors}
    usable = {name for name in names if injects(injectors, {REVISION: name})}
    tagged = {labels(i)[TAG]: labels(i).get(REVISION) for i in injectors if TAG in labels(i)}
    return sorted(name for name in usable if name not in tagged or tagged[name] not in usable)


def label(
    found: Mesh, namespace: Mapping[str, str] | None = None, environment: Mapping[str, str] = os.environ
) -> tuple[str, Finding]:
    """Return the namespace label for sidecar injection, and the finding.

    namespace: its present labels; a working one is kept.
    """
    wanted = environment.get("ISTIO_REVISION", "")
    kept = namespace or {}
    present = next((f"{name}={kept[name]}" for name in ("istio-injection", REVISION) if name in kept), "")
    if found.injectors is None:
        # Listing them is forbidden: the present label, or the default one.
        return present or (f"{REVISION}={wanted}" if wanted else USUAL), Finding("Istio", OK, "Istio", IN_CLUSTER)
    there = listed(found.planes) if found.planes else "no control plane of Istio"
    revisions = by_revision(found)
    if wanted:
        answer = f"{REVISION}={wanted}" if injects(found.injectors, {REVISION: wanted}) else ""
    elif present and injects(found.injectors, kept):
        answer = present
    elif injects(found.injectors, DEFAULT):
        answer = USUAL
    else:
        answer = f"{REVISION}={revisions[0]}" if len(revisions) == 1 else ""
    if answer:
        return answer, Finding("Istio", OK, there, IN_CLUSTER)
    if not found.injectors:
        what, fix = f"no sidecar injector of Istio is in this cluster ({there})", "`make install-istio` installs Istio"
    elif wanted:
        what = f"ISTIO_REVISION={wanted} is no revision of this cluster's Istio ({there})"
        fix = f"set it to {listed(revisions or ['default'])}"
    else:
        what = f"none of this cluster's revisions of Istio is the default ({there})"
        fix = "choose one: " + " or ".join(f"ISTIO_REVISION={revision}" for revision in revisions)
    return "", Finding("Istio", MISSING, what, IN_CLUSTER, fix)


def istio(found: Mesh, environment: Mapping[str, str] = os.environ) -> Finding:
    """Whether there is an Istio that the sets work with."""
    if not serves("networking.istio.io"):
        fix = "`make install-istio` installs it"
        return Finding("Istio", MISSING, "Istio is missing in this cluster", IN_CLUSTER, fix)
    wanted, oldest = environment["ISTIO_VERSION"], environment["ISTIO_OLDEST"]
    if found.planes and all(plane.down for plane in found.planes):
        # It would refuse what is applied, and pods would start without sidecars.
        plane = found.planes[0]
        fix = f"kubectl get pods --namespace={plane.namespace} --selector=app=istiod"
        return Finding("Istio", MISSING, f"{plane} is there, but no pod of its istiod is ready", IN_CLUSTER, fix)
    for plane in found.planes:
        if not plane.version:
            continue
        if plane.is_ours() and minor(plane.version) < minor(wanted):
            what = f"this cluster has Istio {plane.version}, which is older than {wanted}"
            return Finding("Istio", MISSING, what, IN_CLUSTER, "`make install-istio` updates it")
        if minor(plane.version) < minor(oldest):
            what = f"this cluster has {plane}, and {oldest} is the oldest that works"
            return Finding("Istio", MISSING, what, IN_CLUSTER, "whoever installed it can update it")
    for plane in found.planes:
        if plane.version and minor(plane.version) < minor(wanted):
            return Finding("Istio", NOTE, f"this cluster has {plane}; what was tried is {wanted}", IN_CLUSTER)
    return Finding("Istio", OK, listed(found.planes) if found.planes else "Istio", IN_CLUSTER)


def installation(found: Mesh, environment: Mapping[str, str] = os.environ) -> Finding:
    """What `make install-istio` does: installs or updates ours (NOTE), keeps another's (OK), or fails (MISSING)."""
    wanted = environment["ISTIO_VERSION"]
    if not found.planes:
        return Finding("Istio", NOTE, "install", IN_CLUSTER)
    others = [plane for plane in found.planes if not plane.is_ours()]
    if others:
        checked = istio(found, environment)
        if checked.state == MISSING:
            return checked
        stays = "they stay" if others[1:] else "it stays"
        what = f"this cluster has {listed(others)}: {stays}, and no second one comes beside{unmarked(others)}"
        return Finding("Istio", OK, what, IN_CLUSTER)
    (own,) = found.planes
    if own.version and minor(wanted) < minor(own.version):
        what = f"this cluster has Istio {own.version}, which is newer than {wanted}"
        return Finding("Istio", MISSING, what, IN_CLUSTER, f"it stays; ISTIO_VERSION={own.version} would keep it")
    return Finding("Istio", NOTE, "install", IN_CLUSTER)


def unmarked(planes: list[ControlPlane]) -> str:
    """Return how to label an Istio that an earlier `make install-istio` installed, or ""."""
    for plane in planes:
        if (plane.revision, plane.namespace, plane.owner) == ("default", "istio-system", ISTIOCTL):
            command = f"kubectl label deployment/istiod --namespace=istio-system {OUR_LABEL}={OUR_VALUE}"
            return f" (if an earlier `make install-istio` made it: {command})"
    return ""


def users(pods: list[Any], gateways: list[Any]) -> str:
    """Return what needs Istio in this cluster, or ""."""

    def namespaces(found: list[Any]) -> list[str]:
        return sorted({thing["metadata"]["namespace"] for thing in found})

    sidecars = namespaces([pod for pod in pods if TLS_MODE in labels(pod)])
    captured = [pod for pod in pods if (pod["metadata"].get("annotations") or {}).get(REDIRECTION) == "enabled"]
    # In istio-system Prometheus may be in the mesh, which uninstall.sh checks.
    in_ambient = [name for name in namespaces(captured) if name != "istio-system"]
    ours = [gateway for gateway in gateways if gateway["spec"]["gatewayClassName"].startswith("istio")]
    names = [f"{gateway['metadata']['namespace']}/{gateway['metadata']['name']}" for gateway in ours]
    uses = {
        "pods have its sidecar in": sidecars, "its ztunnel serves pods in": in_ambient, "it runs these Gateways": names,
    }  # fmt: skip
    return next((f"{use}: {' '.join(who)}" for use, who in uses.items() if who), "")


def removal(found: Mesh) -> Finding:
    """Whether `make uninstall-istio` may remove the installed Istio."""
    things = (get(kind, "--all-namespaces") or {} for kind in ("pods", f"gateways.{GROUP}"))
    if use := users(*(thing.get("items", []) for thing in things)):
        what = f"Istio stays, because {use}"
        return Finding("Istio", MISSING, what, IN_CLUSTER, "`make undeploy NAMESPACE=` removes ours")
    others = [plane for plane in found.planes if not plane.is_ours()]
    if others:
        what = f"Istio stays, because `make install-istio` did not install {listed(others)}"
        return Finding("Istio", MISSING, what, IN_CLUSTER, f"whoever installed it can remove it{unmarked(others)}")
    return Finding("Istio", OK, listed(found.planes) if found.planes else "no Istio", IN_CLUSTER)


# The fields of the Gateway API that the sets use, by kind.
NEEDED = {
    "gateways": ("spec", "infrastructure", "parametersRef"),
    "httproutes": ("spec", "rules", "timeouts"),
    "gatewayclasses": ("spec", "controllerName"),
}
GROUP = "gateway.networking.k8s.io"


def gateway_api(environment: Mapping[str, str] = os.environ) -> Finding:
    """The Gateway API: OK: kept; NOTE: installed or updated; MISSING: installed by others, who have to update it."""
    wanted = environment["GATEWAY_API_VERSION"]
    missing = "the Gateway API is missing in this cluster"
    absent = Finding("Gateway API", NOTE, missing, IN_CLUSTER, "`make install-istio` installs it")
    crds = get("customresourcedefinitions", *[f"{kind}.{GROUP}" for kind in NEEDED], "--show-managed-fields")
    if crds is None:
        # Only an administrator may read CRDs; any user may list the served API groups.
        return Finding("Gateway API", OK, "the Gateway API", IN_CLUSTER) if serves(f"{GROUP}/v1") else absent
    # A single object is not wrapped in a list.
    there = {crd["spec"]["names"]["plural"]: crd for crd in crds.get("items", [crds] if crds.get("spec") else [])}
    if not there:
        return absent
    annotations = next(iter(there.values()))["metadata"].get("annotations") or {}
    version = annotations.get(f"{GROUP}/bundle-version", "of an unknown version")
    channel = annotations.get(f"{GROUP}/channel", "unknown")
    whose = next((name for name in map(owner, there.values()) if name), "")
    by = f", installed by {whose}" if whose not in ("", MANAGER) else ""
    what, lacking = f"the Gateway API {version}, {channel} channel{by}", list(lacks(there))
    # Another channel is kept: ours would remove kinds and fields that others use.
    outdated = whose == MANAGER and version != wanted
    if lacking:
        what = f"this cluster has {what}, which lacks {listed(lacking)}"
        if channel == "standard" and whose in ("", MANAGER):
            return Finding("Gateway API", NOTE, what, IN_CLUSTER, "`make install-istio` updates it")
        return Finding("Gateway API", MISSING, what, IN_CLUSTER, f"whoever installed it can update it to {wanted}")
    # It works, but `make install-istio` updates it to its own version.
    return Finding("Gateway API", NOTE if channel == "standard" and outdated else OK, what, IN_CLUSTER)


def lacks(there: Mapping[str, Any]) -> Iterator[str]:
    """Yield the kinds and fields that the sets need and these CRDs lack."""
    for kind, path in NEEDED.items():
        served = [
            v for v in there.get(kind, {}).get("spec", {}).get("versions", []) if v["name"] == "v1" and v["served"]
        ]
        if not served:
            yield f"{kind}.{GROUP}/v1"
            continue
        schema: Any = served[0].get("schema", {}).get("openAPIV3Schema", {})
        for field in path:
            schema = schema.get("items", schema).get("properties", {}).get(field)
            if schema is None:
                yield f"{kind} with {'.'.join(path)}"
                break


def daemonsets(part: str) -> Any:
    """Return the DaemonSets of a component of Istio; None if reading them is forbidden."""
    found = get("daemonsets", "--all-namespaces", f"--selector={PARTS[part]}")
    return None if found is None else found.get("items", [])


def check_parts() -> tuple[str, Finding]:
    """The check `parts`."""
    there = [part for part in PARTS if daemonsets(part)]
    return " ".join(there), Finding("Istio", OK, "Istio", IN_CLUSTER)


def check_label(target: str, *namespace: str) -> tuple[str, Finding]:
    """The check `label`. In ambient mode only a revision needs a label: the default Istio handles all namespaces."""
    there = get("namespace", *namespace) if namespace else None
    answer, finding = label(mesh(), labels(there) if there else {})
    return "" if target == "ambient" and answer == USUAL else answer, finding


def check_istio() -> tuple[str, Finding]:
    """The check `istio`; a NOTE is only printed."""
    finding = istio(mesh())
    if finding.state == NOTE:
        print(finding, file=sys.stderr)
    return "", finding


def check_install() -> tuple[str, Finding]:
    """The check `install`."""
    finding = installation(mesh())
    return finding.found, finding


def check_gateway_api() -> tuple[str, Finding]:
    """The check `gateway-api`."""
    finding = gateway_api()
    return "install" if finding.state == NOTE else finding.found, finding


def check_gateway_api_fields() -> tuple[str, Finding]:
    """The check `gateway-api-fields`: what `make install-istio` would update is MISSING here, too."""
    finding = gateway_api()
    return "", finding._replace(state=MISSING) if finding.fix else finding


CHECKS: dict[str, Callable[..., tuple[str, Finding]]] = {
    "label": check_label,
    "istio": check_istio,
    "install": check_install,
    "removal": lambda: ("", removal(mesh())),
    "gateway-api": check_gateway_api,
    "gateway-api-fields": check_gateway_api_fields,
    "parts": check_parts,
}


def main(name: str, *arguments: str) -> int:
    """Run a check for a script."""
    answer, finding = CHECKS[name](*arguments)
    return reply([finding], answer)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
