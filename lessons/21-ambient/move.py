"""The way of a namespace from sidecars to ambient mode, and back: step by step, and nothing is ever open.

Three rules give the order. A sidecar can call a pod without one, through its ztunnel, but not the other way round: so
who is called moves first, and on the way back last. A policy of the waypoint and one of the pods are two: so both are
there before the waypoint is used, and the former one goes after it. What allows is added before what it replaces goes.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from lessons.runner.ambient import Ambient
from lessons.runner.cluster import Cluster

DATABASES = ("statefulset/user-database", "statefulset/rule-database")
# Who is called comes before those who call: user gets events of rule, and todolist calls both.
CALLED_FIRST = ("user-v1", "user-v2", "rule", "todolist")
SERVICES = ("todolist", "user", "rule")
# Policies that exist on the way only: what the sidecars' policies allow, under names that the other set does not have.
ON_THE_WAY = "moving-"
VERSIONS = ("user-v1", "user-v2")
RESTART = "each database is one pod, and its restart an outage in any mesh"
SWITCH = "ztunnel and the waypoint get their configuration from istiod one after the other"
# The labels by which pods of a namespace get sidecars, and the one by which it still is the Istio set (lib.sh).
INJECTION = ("istio-injection", "istio.io/rev")
MOVING = "moving"


@dataclass(frozen=True)
class Step:
    """A step: what it does, in words, and how. costs: why requests may fail meanwhile, "" if none may."""

    what: str
    do: Callable[[], None]
    costs: str = ""


class Move:
    """Moves the application of a namespace."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._sidecars, self._ambient = cluster.objects(), Ambient(cluster.namespace).objects()
        # Of another revision than the default one.
        label = r"--output=jsonpath={.metadata.labels.istio\.io/rev}"
        self._revision = cluster.kubectl("get", "namespace", cluster.namespace, label)

    def there(self) -> Iterator[Step]:
        """Yield the steps to ambient mode."""
        yield Step("each permission also for pods without a sidecar, and for a waypoint", self._allow_both)
        yield Step(
            "the namespace: new pods get no sidecar, and ztunnel takes their connections",
            lambda: self._label(
                *(f"{name}-" for name in INJECTION), "istio.io/dataplane-mode=ambient", f"{MOVING}=istio"
            ),
        )
        yield Step("the databases restart without sidecars", self._restart_databases, RESTART)
        for name in CALLED_FIRST:
            yield Step(f"{name} gets pods without a sidecar", lambda name=name: self._roll(name, self._ambient))  # type: ignore[misc]
        yield Step("a waypoint, its routes and its policies", self._make_waypoint)
        yield Step("calls go through the waypoint", lambda: self._put(self._services(self._ambient)), SWITCH)
        yield Step("only the waypoint may call the pods", self._end)

    def back(self) -> Iterator[Step]:
        """Yield the steps back to sidecars."""
        yield Step("each permission also for callers with a sidecar", self._allow_both)
        yield Step("calls go past the waypoint", lambda: self._put(self._services(self._sidecars)), SWITCH)
        yield Step("the routes of the sidecars", self._make_routes)
        yield Step("the namespace: new pods get sidecars", self._inject)
        for name in reversed(CALLED_FIRST):
            yield Step(f"{name} gets pods with a sidecar", lambda name=name: self._roll(name, self._sidecars))  # type: ignore[misc]
        yield Step("the databases restart with sidecars", self._restart_databases, RESTART)
        yield Step("the policies of the sidecars alone, and no waypoint", self._remove_waypoint)

    def _allow_both(self) -> None:
        """Allow what each of the sets does: their policies have the same names, and are not for the same proxies."""
        for policy in self._find(self._sidecars, "AuthorizationPolicy"):
            if policy["metadata"]["name"] in SERVICES:
                policy["metadata"]["name"] = ON_THE_WAY + policy["metadata"]["name"]
                self._put([policy])
        pods = [f"{name}-pods" for name in SERVICES]
        self._put(self._find(self._ambient, "AuthorizationPolicy", *pods))

    def _inject(self) -> None:
        revision = self._revision or os.environ.get("ISTIO_REVISION", "")
        self._label(f"istio.io/rev={revision}" if revision else "istio-injection=enabled")

    def _label(self, *labels: str) -> None:
        self._cluster.kubectl("label", "namespace", self._cluster.namespace, "--overwrite", *labels)

    def _restart_databases(self) -> None:
        for name in DATABASES:
            self._cluster.kubectl("rollout", "restart", name)
        for name in DATABASES:
            self._ready(name)

    def _roll(self, name: str, objects: list[Any]) -> None:
        """Give a Deployment the pods of a set, with the image that it has: one pod after the other."""
        (deployment,) = self._find(objects, "Deployment", name)
        for container in deployment["spec"]["template"]["spec"]["containers"]:
            container["image"] = self._cluster.image(name.partition("-")[0])
        self._put([deployment])
        self._ready(f"deployment/{name}")

    def _ready(self, name: str) -> None:
        self._cluster.kubectl("rollout", "status", name, "--timeout=300s")

    def _make_waypoint(self) -> None:
        ambient = self._ambient
        # Not yet in use: no Service has the label for it.
        self._put(self._services(ambient, *VERSIONS))
        self._put(self._find(ambient, "AuthorizationPolicy"))
        # The route of the ingress has another name in this set: first it, then what becomes a route of the mesh.
        self._put(self._find(ambient, "HTTPRoute", "ingress"))
        self._put(self._find(ambient, "HTTPRoute"))
        self._put(self._find(ambient, "ProxyConfig") + self._find(ambient, "DestinationRule"))
        self._delete("virtualservices.networking.istio.io", "user", "rule")
        self._delete("destinationrules.networking.istio.io", "user")
        self._put(self._find(ambient, "Gateway", "waypoint"))
        self._cluster.kubectl(
            "wait", "gateways.gateway.networking.k8s.io/waypoint", "--for=condition=Programmed", "--timeout=180s"
        )
        self._ready("deployment/waypoint")

    def _make_routes(self) -> None:
        sidecars = self._sidecars
        self._put(self._find(sidecars, "DestinationRule") + self._find(sidecars, "VirtualService"))
        # That of the ingress again; the one that the ingress has used meanwhile goes after it.
        self._put(self._find(sidecars, "HTTPRoute"))
        self._delete("httproutes.gateway.networking.k8s.io", "ingress", "user", "rule")

    def _end(self) -> None:
        self._delete("authorizationpolicies.security.istio.io", *(ON_THE_WAY + name for name in SERVICES))

    def _remove_waypoint(self) -> None:
        self._put(self._find(self._sidecars, "AuthorizationPolicy"))
        pods = (f"{name}-pods" for name in SERVICES)
        self._end()
        self._delete("authorizationpolicies.security.istio.io", "waypoint", *pods)
        self._delete("gateways.gateway.networking.k8s.io", "waypoint")
        self._delete("services", *VERSIONS)
        self._delete("destinationrules.networking.istio.io", *VERSIONS)
        self._delete("proxyconfigs.networking.istio.io", "ingress")
        # Only now: a pod without a sidecar would be without any proxy.
        self._label("istio.io/dataplane-mode-", f"{MOVING}-")

    def _services(self, objects: list[Any], *names: str) -> list[Any]:
        return [each for each in self._find(objects, "Service", *(names or SERVICES)) if each["apiVersion"] == "v1"]

    def _find(self, objects: list[Any], kind: str, *names: str) -> list[Any]:
        """Return copies of the objects of a kind, with these names, or all."""
        found = [each for each in objects if each["kind"] == kind and (not names or each["metadata"]["name"] in names)]
        return [{**each, "metadata": dict(each["metadata"])} for each in found]

    def _put(self, objects: list[Any]) -> None:
        self._cluster.put(objects)

    def _delete(self, kind: str, *names: str) -> None:
        self._cluster.kubectl("delete", kind, *names, "--ignore-not-found")
