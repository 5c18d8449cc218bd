"""Checks of the namespace: its owner, and rules that prevent a deployment.

`python3 -m deploy.doctor.namespace NAMESPACE TARGET` prints the problem and exits with 1, or prints nothing. Whether a
quota or a webhook rejects a pod is known only when the pod is created: wait.py.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from deploy.doctor.access import get
from deploy.doctor.finding import AMBIENT, IN_CLUSTER, ISTIO, MISSING, OK, Finding, reply
from deploy.doctor.mesh import Mesh, daemonsets, injects, label, labels, mesh

ENFORCE = "pod-security.kubernetes.io/enforce"
SETS = (ISTIO, AMBIENT)
PART_OF = "app.kubernetes.io/part-of"


def whose(namespace: str, found: Any, environment: Mapping[str, str] = os.environ) -> Finding:
    """Whether the namespace can be used: our own, or one that an administrator created, with KEEP_NAMESPACE=1."""
    keep = environment.get("KEEP_NAMESPACE", "")
    if not found:
        if keep:
            what = f"there is no namespace {namespace}, or it may not be read"
            return Finding("namespace", MISSING, what, IN_CLUSTER, "without KEEP_NAMESPACE=1 `make deploy` makes it")
        return Finding("namespace", OK, f"{namespace} is made by `make deploy`", IN_CLUSTER)
    if labels(found).get(PART_OF) != "todolist" and not keep:
        what = f"namespace {namespace} exists and is not the application's own"
        fix = "choose another NAMESPACE=, or deploy into it as it is: KEEP_NAMESPACE=1"
        return Finding("namespace", MISSING, what, IN_CLUSTER, fix)
    return Finding("namespace", OK, namespace, IN_CLUSTER)


def in_mesh(namespace: str, found: Any, target: str, there: Mesh) -> Finding:
    """Whether a namespace that is not changed is in the mesh, as the set needs it."""
    marks = labels(found)
    if target == "ambient":
        fits, wanted = marks.get("istio.io/dataplane-mode") == "ambient", "istio.io/dataplane-mode=ambient"
    else:
        fits = there.injectors is None or injects(there.injectors, marks)
        wanted = label(there)[0] or "istio.io/rev=REVISION"
    if fits:
        return Finding("namespace", OK, namespace, IN_CLUSTER)
    what = f"namespace {namespace} is not in the mesh, so its pods get no proxy"
    return Finding("namespace", MISSING, what, IN_CLUSTER, f"kubectl label namespace {namespace} {wanted}")


def pod_security(namespace: str, found: Any, target: str) -> Finding:
    """Whether Pod Security allows sidecars: without Istio's CNI plugin each pod has istio-init."""
    level = labels(found).get(ENFORCE, "privileged") if found else "privileged"
    if target == "ambient" or level == "privileged":
        return Finding("Pod Security", OK, level, IN_CLUSTER)
    plugins = daemonsets("cni")
    if plugins is None or plugins:
        return Finding("Pod Security", OK, level, IN_CLUSTER)
    what = f"namespace {namespace} enforces Pod Security {level}, which refuses istio-init, a part of each sidecar"
    fix = "`make install-istio MODE=cni` adds the plugin that takes its place"
    return Finding("Pod Security", MISSING, what, IN_CLUSTER, fix)


# What the ingress's Service uses of a quota: itself, and a node port for each of its two ports.
COUNTED = {"services.loadbalancers": 1, "services.nodeports": 2}


def way_in(namespace: str, target: str, environment: Mapping[str, str] = os.environ) -> Finding:
    """Whether a quota allows the ingress's Service, without which it does not become ready."""
    fine = Finding("way in", OK, "no quota is in the way of the ingress", SETS)
    # On Knative the ingress is in istio-system.
    if target == "knative" or environment.get("INGRESS_SERVICE") == "ClusterIP":
        return fine
    quotas = (get("resourcequotas", f"--namespace={namespace}") or {}).get("items", [])
    for quota in quotas:
        hard, used = quota.get("status", {}).get("hard", {}), quota.get("status", {}).get("used", {})
        for counted, needed in COUNTED.items():
            if counted not in hard or int(hard[counted]) - int(used.get(counted, "0")) >= needed:
                continue
            # If it exists, it is already counted as used.
            if get("service/ingress-istio", f"--namespace={namespace}"):
                return fine
            name = quota["metadata"]["name"]
            what = f"quota {name} allows {hard[counted]} {counted}, and the ingress would wait for ever"
            fix = (
                "INGRESS_SERVICE=ClusterIP does without, and `make url` forwards a port; or an administrator raises it"
            )
            return Finding("way in", MISSING, what, SETS, fix)
    return fine


def main(namespace: str, target: str) -> int:
    """Print the problem, if there is one."""
    found = get("namespace", namespace)
    checks = [whose(namespace, found), pod_security(namespace, found, target), way_in(namespace, target)]
    if found and os.environ.get("KEEP_NAMESPACE"):
        checks.append(in_mesh(namespace, found, target, mesh()))
    return reply(checks)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
