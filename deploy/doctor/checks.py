"""All checks by name: what `make doctor` looks at, and what `make run`, `make deploy` and the others ask it for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from deploy.doctor import cluster, machine
from deploy.doctor.finding import MISSING, Finding

if TYPE_CHECKING:
    Check = Callable[[], Finding | list[Finding]]

# In the order in which they are needed. The names are those of `check`.
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
    "image-store": machine.image_store,
    "tools": machine.tools,
    "curl": machine.curl,
    "kind": machine.kind,
    "kind-version": machine.kind_version,
}
# Only where kubectl is there; all after `cluster` only where one answers.
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
    """Return what a check finds, as a list."""
    found = check()
    return [found] if isinstance(found, Finding) else found


def found_by(names: Iterable[str]) -> list[Finding]:
    """Return what these checks find."""
    checks = {**MACHINE, **CLUSTER}
    return [finding for name in names for finding in results(checks[name])]


def missing(names: Iterable[str], purpose: str = "") -> list[Finding]:
    """Return what is missing of these checks, or of what a purpose needs of them."""
    found = (each for each in found_by(names) if each.state == MISSING)
    return [each for each in found if not purpose or purpose in each.good_for]
