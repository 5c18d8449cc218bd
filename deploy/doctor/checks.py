"""All checks by name, for `make doctor`, `make run`, `make deploy` and the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from deploy.doctor import cluster, machine
from deploy.doctor.finding import MISSING, Finding

if TYPE_CHECKING:
    Check = Callable[[], Finding | list[Finding]]

# In the order of the table. The names are arguments of `check`.
MACHINE: dict[str, Check] = {
    "python": machine.python,
    "venv": machine.venv,
    "system": machine.system,
    "folder": machine.folder,
    "file-system": machine.file_system,
    "localhost": machine.localhost,
    "ports": machine.free_ports,
    "limits": machine.limits,
    "inotify": machine.inotify,
    "shell": machine.surroundings,
    "browser": machine.browser,
    "docker": machine.docker,
    "buildx": machine.buildx,
    "compose": machine.compose,
    "image-store": machine.image_store,
    "tools": machine.tools,
    "curl": machine.curl,
    "kind": machine.kind,
    "kind-version": machine.kind_version,
}
# Only if kubectl is installed; those after `cluster` only if a cluster answers.
CLUSTER: dict[str, Check] = {
    "kubectl": cluster.client,
    "cluster": cluster.permissions,
    "kubernetes": cluster.kubernetes,
    "nodes": cluster.nodes,
    "room": cluster.room,
    "metrics-server": cluster.metrics_server,
    "load-balancer": cluster.load_balancer,
    "istio": cluster.istio,
    "ambient": cluster.ambient,
    "gateway-api": cluster.gateway_api,
    "knative": cluster.knative,
    "kiali": cluster.kiali,
    "rules": cluster.rules,
}


def results(check: Check) -> list[Finding]:
    """Return the findings of a check, as a list."""
    found = check()
    return [found] if isinstance(found, Finding) else found


def found_by(names: Iterable[str]) -> list[Finding]:
    """Return the findings of these checks."""
    checks = {**MACHINE, **CLUSTER}
    return [finding for name in names for finding in results(checks[name])]


def missing(names: Iterable[str], purpose: str = "") -> list[Finding]:
    """Return the findings of these checks that are MISSING, or only those that a purpose needs."""
    found = (each for each in found_by(names) if each.state == MISSING)
    return [each for each in found if not purpose or purpose in each.good_for]
