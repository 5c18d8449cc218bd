"""The set for Istio in ambient mode (deploy/ambient)."""

from typing import Any

from lessons.runner.cluster import Cluster
from lessons.runner.lesson import Lesson, PlaceName


class Ambient(Cluster):
    """The application in a namespace of a cluster, with a waypoint."""

    name: PlaceName = "ambient"
    # An open connection to the waypoint serves one more request by the former routes, and is then closed: so user and
    # rule are called, too.
    watched = ("/healthz", "/api/currentUser", "/api/rule")

    def mesh_labels(self, *, in_mesh: bool) -> dict[str, str]:
        return {"istio.io/dataplane-mode": "ambient" if in_mesh else "none"}

    def _mark(self, lesson: Lesson) -> Any:
        """Return the route of todolist that names the lesson in each answer: a waypoint takes no EnvoyFilter."""
        (route,) = (
            item for item in self.objects() if item["kind"] == "HTTPRoute" and item["metadata"]["name"] == "todolist"
        )
        route["metadata"]["labels"]["lesson"] = lesson.name
        header = {"name": "x-lesson", "value": lesson.name}
        for rule in route["spec"]["rules"]:
            modifier = {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": [header]}}
            rule["filters"] = [*rule.get("filters", []), modifier]
        return route
