"""Which platform a cluster runs on, as far as it matters: where its network plugin is, and how images get into it.

`python3 -m deploy.doctor.platform cni` prints Istio's name for the platform, where istio-cni needs it.
`python3 -m deploy.doctor.platform images` prints how images of Docker get into the cluster's nodes: `kind NAME`,
`minikube PROFILE`, `k3d NAME` or `shared`; or it ends with 1 and a line that says what to do instead.
"""

from __future__ import annotations

import os
import shutil
import sys
from typing import Any

from deploy.doctor.access import context, get
from deploy.doctor.finding import IMAGES, MISSING, OK, Finding, reply

MINIKUBE = "minikube.k8s.io/name"
# Contexts of programs that give Docker and Kubernetes one store of images, if Docker runs the pods.
SHARING = ("docker-desktop", "orbstack", "colima", "rancher-desktop")
OWN_REGISTRY = "set REGISTRY= to one that the cluster reaches"


def nodes() -> list[Any]:
    """Return the cluster's nodes; none where they may not be read."""
    found: list[Any] = (get("nodes") or {}).get("items", [])
    return found


def cni(there: list[Any]) -> str:
    """Return Istio's name for a platform whose network plugin is not where it usually is; nothing for others."""
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
    """Return how images that Docker has get into the nodes, and what was found."""
    ways = {"kind-": "kind", "k3d-": "k3d"}
    for prefix, program in ways.items():
        if name.startswith(prefix):
            return loaded_by(
                f"{program} {name[len(prefix) :]}", Finding("images", OK, f"{program} loads them", (IMAGES,))
            )
    for node in there:
        # Whatever its profile and context are called.
        profile = node["metadata"].get("labels", {}).get(MINIKUBE)
        if profile:
            what = f"minikube loads them into profile {profile}"
            return loaded_by(f"minikube {profile}", Finding("images", OK, what, (IMAGES,)))
    runtimes = {node["status"]["nodeInfo"]["containerRuntimeVersion"].partition(":")[0] for node in there}
    shares = name.startswith(SHARING)
    if name == "docker-desktop" or runtimes == {"docker"} or (shares and not runtimes):
        return "shared", Finding("images", OK, "the cluster shares Docker's images", (IMAGES,))
    if any("microk8s.io/cluster" in node["metadata"].get("labels", {}) for node in there):
        what, mend = "MicroK8s has a store of images of its own", f"microk8s ctr image import, or {OWN_REGISTRY}"
    elif shares:
        what = f"{name} runs pods with {', '.join(sorted(runtimes))}, which does not see Docker's images"
        mend = f"let Docker run them (colima start --runtime docker; dockerd in Rancher Desktop), or {OWN_REGISTRY}"
    else:
        what, mend = f"the nodes of {name or 'this cluster'} do not see Docker's images", OWN_REGISTRY
    return "", Finding("images", MISSING, what, (IMAGES,), mend)


def loaded_by(way: str, finding: Finding) -> tuple[str, Finding]:
    """Return the way in which a program loads images, if that program is here."""
    program = way.partition(" ")[0]
    if shutil.which(program):
        return way, finding
    what = f"{program} is missing, which made this cluster and loads images into it"
    return "", Finding("images", MISSING, what, (IMAGES,), f"put it into PATH, or {OWN_REGISTRY}")


def main(question: str) -> int:
    """Answer a question of a script."""
    if question == "cni":
        return reply([], cni(nodes()))
    answer, finding = images(nodes(), os.environ.get("CONTEXT") or context())
    return reply([finding], answer)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
