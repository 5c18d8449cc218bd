"""The platform of a cluster: where its network plugin is, and how images are loaded into it.

`python3 -m deploy.doctor.platform cni` prints Istio's name for the platform, if istio-cni needs it.
`python3 -m deploy.doctor.platform images` prints how Docker's images are loaded into the nodes: `kind NAME`,
`minikube PROFILE`, `k3d NAME` or `shared`; or exits with 1 and one line with an alternative.
"""

from __future__ import annotations

import os
import shutil
import sys
from typing import Any

from deploy.doctor.access import context, get
from deploy.doctor.finding import IMAGES, MISSING, OK, Finding, reply

MINIKUBE = "minikube.k8s.io/name"
# Contexts of programs in which Docker and Kubernetes share one image store, if Docker runs the pods.
SHARING = ("docker-desktop", "orbstack", "colima", "rancher-desktop")
OWN_REGISTRY = "set REGISTRY= to one that the cluster reaches"


def nodes() -> list[Any]:
    """Return the cluster's nodes; empty if reading them is forbidden."""
    found: list[Any] = (get("nodes") or {}).get("items", [])
    return found


def cni(there: list[Any]) -> str:
    """Return Istio's name for a platform whose network plugin is in unusual folders, or ""."""
    for node in there:
        version = node["status"]["nodeInfo"]["kubeletVersion"]
        if "+k3s" in version or "+rke2" in version:
            return "k3d" if node["metadata"]["name"].startswith("k3d-") else "k3s"
        if "-gke." in version:
            return "gke"
        if "microk8s.io/cluster" in node["metadata"].get("labels", {}):
            return "microk8s"
    return ""


def images(there: list[Any], name: str) -> tuple[str, Finding]:
    """Return how Docker's images are loaded into the nodes, and the finding."""
    ways = {"kind-": "kind", "k3d-": "k3d"}
    for prefix, program in ways.items():
        if name.startswith(prefix):
            return loaded_by(
                f"{program} {name[len(prefix) :]}", Finding("images", OK, f"{program} loads them", (IMAGES,))
            )
    for node in there:
        # Whatever the names of its profile and context.
        profile = node["metadata"].get("labels", {}).get(MINIKUBE)
        if profile:
            what = f"minikube loads them into profile {profile}"
            return loaded_by(f"minikube {profile}", Finding("images", OK, what, (IMAGES,)))
    runtimes = {node["status"]["nodeInfo"]["containerRuntimeVersion"].partition(":")[0] for node in there}
    shares = name.startswith(SHARING)
    if name == "docker-desktop" or runtimes == {"docker"} or (shares and not runtimes):
        return "shared", Finding("images", OK, "the cluster shares Docker's images", (IMAGES,))
    if any("microk8s.io/cluster" in node["metadata"].get("labels", {}) for node in there):
        what, fix = "MicroK8s has a store of images of its own", f"microk8s ctr image import, or {OWN_REGISTRY}"
    elif shares:
        what = f"{name} runs pods with {', '.join(sorted(runtimes))}, which does not see Docker's images"
        fix = f"let Docker run them (colima start --runtime docker; dockerd in Rancher Desktop), or {OWN_REGISTRY}"
    elif not there:
        what, fix = f"this user may not list the nodes of {name}, so how they get images is not known", OWN_REGISTRY
    else:
        what, fix = f"the nodes of {name or 'this cluster'} do not see Docker's images", OWN_REGISTRY
    return "", Finding("images", MISSING, what, (IMAGES,), fix)


def loaded_by(way: str, finding: Finding) -> tuple[str, Finding]:
    """Return a loading method, if its program is installed."""
    program = way.partition(" ")[0]
    if shutil.which(program):
        return way, finding
    what = f"{program} is missing, which made this cluster and loads images into it"
    return "", Finding("images", MISSING, what, (IMAGES,), f"put it into PATH, or {OWN_REGISTRY}")


def main(name: str) -> int:
    """Run a check for a script."""
    if name == "cni":
        return reply([], cni(nodes()))
    answer, finding = images(nodes(), os.environ.get("CONTEXT") or context())
    return reply([finding], answer)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
