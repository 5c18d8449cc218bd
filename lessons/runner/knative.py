"""The set for Knative (deploy/knative)."""

import difflib
import json
from typing import Any

from lessons.runner.cluster import Cluster
from lessons.runner.lesson import Lesson, PlaceName

KNATIVE_SERVICE = "services.serving.knative.dev"
BEFORE = "lesson-before"
BROKER, EVENTING = "brokers.eventing.knative.dev", "eventing.knative.dev/"


class Knative(Cluster):
    """The application in a namespace of a cluster, as Knative Services.

    Of a Service, a lesson's file holds only the fields that differ, as for `kubectl patch --type=merge`.
    """

    name: PlaceName = "knative"

    def apply(self, lesson: Lesson, step: str = "") -> None:
        if not self.has("configmap", BEFORE):
            self._keep_services()
        super().apply(lesson, step)

    def revisions(self) -> list[str]:
        names = "--output=jsonpath={.items[*].metadata.name}"
        return self.kubectl("get", "revisions.serving.knative.dev", names).split()

    def has_broker(self) -> bool:
        return bool(self.kubectl("get", BROKER, "--ignore-not-found", "--output=name", accept=(0, 1)))

    def objects(self) -> list[Any]:
        return self._without_eventing(super().objects())

    def _lesson_objects(self, lesson: Lesson, step: str) -> list[Any]:
        return self._without_eventing(super()._lesson_objects(lesson, step))

    def _without_eventing(self, objects: list[Any]) -> list[Any]:
        """Return what a cluster takes that may have no Knative Eventing."""
        if self.has_broker():
            return objects
        return [item for item in objects if not item["apiVersion"].startswith(EVENTING)]

    def _ingress(self) -> tuple[str, str, dict[str, str]]:
        url = self.kubectl("get", f"{KNATIVE_SERVICE}/todolist", "--output=jsonpath={.status.url}")
        return "istio-ingressgateway", "istio-system", {"host": url.removeprefix("http://")}

    def _workload(self, service: str) -> str:
        return f"{KNATIVE_SERVICE}/{service}"

    def _difference_of(self, item: Any) -> list[str]:
        if not is_service(item):
            return super()._difference_of(item)
        name = item["metadata"]["name"]
        before = self.kubectl("get", f"{KNATIVE_SERVICE}/{name}", "--output=yaml")
        after = self._patch(item, "--dry-run=server", "--output=yaml")
        former, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
        return list(difflib.unified_diff(former, new, f"Service {name}", f"Service {name} in the lesson"))

    def _apply_one(self, item: Any) -> None:
        if is_service(item):
            self._patch(item)
        else:
            super()._apply_one(item)

    def _patch(self, item: Any, *options: str) -> str:
        name = f"{KNATIVE_SERVICE}/{item['metadata']['name']}"
        return self.kubectl("patch", name, "--type=merge", f"--patch={json.dumps(item)}", *options)

    def _put_back(self, objects: list[Any]) -> None:
        """Also give the Services what they had before a lesson, and the split of the set."""
        super()._put_back(objects)
        kept = self.kubectl("get", f"configmap/{BEFORE}", "--ignore-not-found", "--output=jsonpath={.data}")
        before = {name: json.loads(spec) for name, spec in json.loads(kept or "{}").items()}
        for service in filter(is_service, objects):
            name, split = service["metadata"]["name"], service["spec"].get("traffic")
            spec = {**before.get(name, {}), **({"traffic": split} if split else {})}
            patch = [{"op": "replace", "path": f"/spec/{key}", "value": value} for key, value in spec.items()]
            self.kubectl("patch", f"{KNATIVE_SERVICE}/{name}", "--type=json", f"--patch={json.dumps(patch)}")
            self.kubectl("wait", f"{KNATIVE_SERVICE}/{name}", "--for=condition=Ready", "--timeout=120s")
        # They are Knative's own kind, which delete_lesson leaves alone.
        self.kubectl("delete", "revisions", "--selector=lesson", "--ignore-not-found")

    def _keep_services(self) -> None:
        """Keep the Services as they are, for a reset: a lesson may replace their templates."""
        found = json.loads(self.kubectl("get", KNATIVE_SERVICE, "--output=json"))["items"]
        kept = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": BEFORE, "labels": {"lesson": ""}},
            "data": {service["metadata"]["name"]: json.dumps(service["spec"]) for service in found},
        }
        self._apply_one(kept)


def is_service(item: Any) -> bool:
    """Return whether an object is a Knative Service, or a part of one."""
    return bool(item["apiVersion"].startswith("serving.knative.dev/"))
