"""Wait until workloads are ready; when they cannot become so, say why instead of running out of time.

Pods that could not start before are made anew first.

usage: wait.py --namespace N [--timeout SECONDS] KIND/NAME ...
kinds: statefulset, deployment, revision, ksvc, and traffic: that a ksvc sends requests where it was told to
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

Object = dict[str, Any]

RESOURCES = {
    "ksvc": "services.serving.knative.dev",
    "revision": "revisions.serving.knative.dev",
    "traffic": "services.serving.knative.dev",
}
# What a container waits for that no waiting cures; image pulls are tried again, so they get a moment.
HOPELESS = {
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImageNeverPull",
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "RunContainerError",
}
PATIENCE = 30
INTERVAL = 2


def kubectl(*args: str) -> str:
    """Return what kubectl prints, or nothing when it fails."""
    return subprocess.run(["kubectl", *args], capture_output=True, text=True, check=False).stdout  # noqa: S603, S607


class Namespace:
    """What is looked at."""

    def __init__(self, name: str) -> None:
        self.name = name

    def kubectl(self, *args: str) -> str:
        """Run kubectl in this namespace."""
        return kubectl(*args, f"--namespace={self.name}")

    def get(self, workload: str) -> Object | None:
        """Return the workload, or None while it does not exist."""
        kind, _, name = workload.partition("/")
        text = self.kubectl("get", f"{RESOURCES.get(kind, kind)}/{name}", "--output=json", "--ignore-not-found")
        return json.loads(text) if text else None

    def pods(self) -> list[Object]:
        """Return the pods, newest last; of a Knative Service only those of its newest revision that has any."""
        pods: list[Object] = json.loads(self.kubectl("get", "pods", "--output=json") or '{"items": []}')["items"]
        newest: dict[str, int] = {}
        for service, generation in map(revision, pods):
            newest[service] = max(generation, newest.get(service, 0))
        # A revision that never started keeps its pods for minutes after another has taken its place.
        pods = [pod for pod in pods if revision(pod) in newest.items()]
        return sorted(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))

    def events(self) -> list[Object]:
        """Return the warnings, newest last."""
        text = self.kubectl("get", "events", "--field-selector=type=Warning", "--output=json")
        events: list[Object] = json.loads(text or '{"items": []}')["items"]
        # An autoscaler without a metrics server complains for ever, and scales nothing wrongly.
        events = [event for event in events if event["involvedObject"]["kind"] != "HorizontalPodAutoscaler"]
        return sorted(events, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime")))


def revision(pod: Object) -> tuple[str, int]:
    """Return the Knative Service that a pod belongs to, and which of its generations; "" and 0 for other pods."""
    labels = pod["metadata"].get("labels", {})
    generation = labels.get("serving.knative.dev/configurationGeneration", "0")
    return labels.get("serving.knative.dev/service", ""), int(generation)


def progress(found: Object | None, wanted_condition: str) -> tuple[bool, str]:
    """Say whether a workload is ready, and how far it is. wanted_condition: of one of Knative's kinds."""
    if found is None:
        return False, "does not exist yet"
    status = found.get("status", {})
    if status.get("observedGeneration") != found["metadata"].get("generation"):
        return False, "waits for its controller"
    if found["kind"] in {"Deployment", "StatefulSet"}:
        wanted = found["spec"].get("replicas", 1)
        ready = min(status.get("readyReplicas", 0), status.get("updatedReplicas", 0))
        return ready >= wanted and status.get("replicas", 0) == wanted, f"{ready} of {wanted} ready"
    conditions = {condition["type"]: condition for condition in status.get("conditions", [])}
    waiting = [c for c in conditions.values() if c["status"] != "True" and c.get("severity", "") == ""]
    ready = conditions.get(wanted_condition, {}).get("status") == "True"
    return ready, "ready" if ready else reason(waiting[0]) if waiting else "waits for its controller"


def reason(condition: Object) -> str:
    """Put a condition into words."""
    return f"{condition['type']}: {condition.get('message') or condition.get('reason') or condition['status']}"


def troubles(pods: list[Object]) -> Iterator[tuple[str, str, str]]:
    """Yield pod, container and reason of each container that cannot start."""
    for pod in pods:
        status = pod.get("status", {})
        for container in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
            waiting = container.get("state", {}).get("waiting", {})
            if waiting.get("reason") in HOPELESS:
                yield pod["metadata"]["name"], container["name"], f"{waiting['reason']}: {waiting.get('message', '')}"
        for condition in status.get("conditions", []):
            if condition.get("reason") == "Unschedulable":
                yield pod["metadata"]["name"], "", f"Unschedulable: {condition.get('message', '')}"


def start_again(namespace: Namespace) -> None:
    """Delete the pods that cannot start, so that what has been mended since is tried now.

    A kubelet may try again only after five minutes, and a StatefulSet does not replace a pod that was never ready
    (Kubernetes, "StatefulSets: Forced rollback").
    """
    pods = {pod for pod, container, _ in troubles(namespace.pods()) if container}
    if pods:
        print(f"    starting again, because they could not start before: {', '.join(sorted(pods))}", flush=True)
        namespace.kubectl("delete", "pod", "--ignore-not-found", *pods)


def explain(namespace: Namespace, pending: dict[str, str]) -> None:
    """Print what the cluster knows of why the workloads are not ready."""
    for workload, state in pending.items():
        print(f"{workload}: {state}", file=sys.stderr)
    for pod, container, why in troubles(namespace.pods()):
        print(f"pod/{pod} {container}: {why}", file=sys.stderr)
        if container:
            log = namespace.kubectl("logs", pod, f"--container={container}", "--tail=10")
            log = log or namespace.kubectl("logs", pod, f"--container={container}", "--tail=10", "--previous")
            print("".join(f"  | {line}\n" for line in log.splitlines()), end="", file=sys.stderr)
        if "ImagePull" in why:
            print("  | `make build push` with the same REGISTRY and TAG puts it there", file=sys.stderr)
    for event in namespace.events()[-8:]:
        about = event["involvedObject"]
        print(f"event {about['kind']}/{about['name']}: {event['reason']}: {event['message']}", file=sys.stderr)


def wait(namespace: Namespace, workloads: list[str], timeout: float) -> dict[str, str]:
    """Wait for all of them and return those that are not ready, with their state."""
    started = time.monotonic()
    shown: dict[str, str] = {}
    trouble_since: dict[tuple[str, str], float] = {}
    while True:
        pending = {}
        for workload in workloads:
            condition = "RoutesReady" if workload.startswith("traffic/") else "Ready"
            ready, state = progress(namespace.get(workload), condition)
            if shown.get(workload) != state:
                print(f"    {workload}: {state}", flush=True)
                shown[workload] = state
            if not ready:
                pending[workload] = state
        now = time.monotonic()
        current = {(pod, container) for pod, container, _ in troubles(namespace.pods())} if pending else set()
        trouble_since = {key: trouble_since.get(key, now) for key in current}
        hopeless = any(now - since > PATIENCE for since in trouble_since.values())
        if not pending or hopeless or now - started > timeout:
            return pending
        time.sleep(INTERVAL)


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--timeout", type=float, default=300)
    parser.add_argument("workloads", nargs="+", metavar="KIND/NAME")
    args = parser.parse_args()
    namespace = Namespace(args.namespace)
    start_again(namespace)
    pending = wait(namespace, args.workloads, args.timeout)
    if pending:
        explain(namespace, pending)
    return 1 if pending else 0


if __name__ == "__main__":
    sys.exit(main())
