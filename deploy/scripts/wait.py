"""Wait until workloads are ready; when they cannot become so, say why at once instead of running out of time.

`kubectl rollout status` and `kubectl wait` do the waiting. Meanwhile this looks at the pods, which they do not: pods
that could not start before are started again first, and what keeps a pod from starting for half a minute (patience)
ends the waiting. Each cause is printed once, however many pods it stops.

usage: wait.py --namespace N [--timeout SECONDS] [--patience SECONDS] KIND/NAME[:CONDITION] ...
kinds: statefulset, deployment, and Knative's ksvc and revision, whose condition is Ready unless it is named
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

Object = dict[str, Any]

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
INTERVAL = 2


class Trouble(NamedTuple):
    """Why something cannot become ready. pod and container are empty where it is none of a container."""

    cause: str
    message: str
    pod: str = ""
    container: str = ""


class Namespace:
    """What is looked at."""

    def __init__(self, name: str) -> None:
        self.name = name

    def command(self, *args: str) -> list[str]:
        """Return a command of kubectl for this namespace."""
        return ["kubectl", *args, f"--namespace={self.name}"]

    def kubectl(self, *args: str) -> str:
        """Return what kubectl prints, or nothing when it fails."""
        return subprocess.run(self.command(*args), capture_output=True, text=True, check=False).stdout  # noqa: S603

    def get(self, *args: str) -> Object:
        """Return an object, or a list of them; without "items" where there is nothing."""
        found: Object = json.loads(self.kubectl("get", *args, "--output=json", "--ignore-not-found") or "{}")
        return found

    def pods(self) -> list[Object]:
        """Return the pods, oldest first; of a Knative Service only those of its newest revision that has any."""
        pods: list[Object] = self.get("pods").get("items", [])
        newest: dict[str, int] = {}
        for service, generation in map(revision, pods):
            newest[service] = max(generation, newest.get(service, 0))
        # A revision that never started keeps its pods for minutes after another has taken its place.
        pods = [pod for pod in pods if revision(pod) in newest.items()]
        return sorted(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))

    def troubles(self, workload: str = "") -> Iterator[Trouble]:
        """Yield what keeps pods from starting, and what Knative says of a workload of its kinds."""
        for pod in self.pods():
            name, status = pod["metadata"]["name"], pod.get("status", {})
            for container in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
                waiting = container.get("state", {}).get("waiting", {})
                if (reason := waiting.get("reason")) in HOPELESS:
                    # A pull that failed and one that will be tried again have one cause.
                    cause = f"{container.get('image', '')} {'pull' if 'ImagePull' in reason else reason}"
                    yield Trouble(cause, f"{reason}: {waiting.get('message', '')}", name, container["name"])
            for condition in status.get("conditions", []):
                if condition.get("reason") == "Unschedulable":
                    yield Trouble("Unschedulable", f"Unschedulable: {condition.get('message', '')}", name)
        name, wanted = target(workload)
        if wanted:
            for condition in self.get(name).get("status", {}).get("conditions", []):
                if condition["type"] == wanted and condition["status"] == "False":
                    yield Trouble(workload, f"{condition.get('reason', '')}: {condition.get('message', '')}")

    def warnings(self, explained: set[str]) -> list[str]:
        """Return the last few events that warn of anything but these pods or pods that are gone."""
        events: list[Object] = self.get("events", "--field-selector=type=Warning").get("items", [])
        current = {pod["metadata"]["name"] for pod in self.pods()} - explained
        found: dict[tuple[str, str], str] = {}
        for event in sorted(events, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime"))):
            about = event["involvedObject"]
            # An autoscaler without a metrics server complains for ever, and scales nothing wrongly.
            if about["kind"] != "HorizontalPodAutoscaler" and (about["kind"] != "Pod" or about["name"] in current):
                found[event["reason"], event["message"]] = f"{about['kind']}/{about['name']}"
        return [f"event {about}: {reason}: {message}" for (reason, message), about in list(found.items())[-8:]]


def revision(pod: Object) -> tuple[str, int]:
    """Return the Knative Service that a pod belongs to, and which of its generations; "" and 0 for other pods."""
    labels = pod["metadata"].get("labels", {})
    generation = labels.get("serving.knative.dev/configurationGeneration", "0")
    return labels.get("serving.knative.dev/service", ""), int(generation)


def target(workload: str) -> tuple[str, str]:
    """Split KIND/NAME[:CONDITION]; there is no condition for Kubernetes' own kinds."""
    name, _, condition = workload.partition(":")
    return name, "" if name.startswith(("deployment/", "statefulset/")) else condition or "Ready"


def start_again(namespace: Namespace) -> None:
    """Delete the pods that cannot start, so that what has been mended since is tried now.

    A kubelet may try again only after five minutes, and a StatefulSet does not replace a pod that was never ready
    (Kubernetes, "StatefulSets: Forced rollback").
    """
    pods = {trouble.pod for trouble in namespace.troubles() if trouble.container}
    if pods:
        print(f"starting again, because they could not start before: {', '.join(sorted(pods))}", flush=True)
        namespace.kubectl("delete", "pod", "--ignore-not-found", *pods)


def wait(namespace: Namespace, workload: str, deadline: float, patience: float) -> bool:
    """Wait until the workload exists and is ready; give up at the deadline, or when something keeps it from that."""
    name, condition = target(workload)
    ready = ["wait", name, f"--for=condition={condition}"] if condition else ["rollout", "status", name]
    since: dict[str, float] = {}
    for step in (["wait", name, "--for=create"], ready):
        timeout = max(1, int(deadline - time.monotonic()))
        with subprocess.Popen(namespace.command(*step, f"--timeout={timeout}s")) as process:  # noqa: S603
            while process.poll() is None:
                now = time.monotonic()
                since = {trouble.cause: since.get(trouble.cause, now) for trouble in namespace.troubles(workload)}
                if any(now - first > patience for first in since.values()):
                    process.terminate()
                    return False
                try:
                    process.wait(INTERVAL)
                except subprocess.TimeoutExpired:
                    continue
        if process.returncode:
            return False
    return True


def explain(namespace: Namespace, workload: str) -> None:
    """Print what the cluster knows of why the workload is not ready."""
    print(f"{workload} is not ready", file=sys.stderr)
    causes: dict[str, list[Trouble]] = {}
    for trouble in namespace.troubles(workload):
        causes.setdefault(trouble.cause, []).append(trouble)
    for troubles in causes.values():
        first = troubles[0]
        others = f" and {len(troubles) - 1} more" if len(troubles) > 1 else ""
        where = f"pod/{first.pod}{others} {first.container}".rstrip() if first.pod else workload
        print(f"{where}: {first.message}", file=sys.stderr)
        if first.container:
            log = ["logs", first.pod, f"--container={first.container}", "--tail=10"]
            lines = (namespace.kubectl(*log) or namespace.kubectl(*log, "--previous")).splitlines()
            print("".join(f"  | {line}\n" for line in lines), end="", file=sys.stderr)
    if any(cause.endswith(" pull") for cause in causes):
        print("`make build push` with the same REGISTRY and TAG puts the images there", file=sys.stderr)
    explained = {trouble.pod for troubles in causes.values() for trouble in troubles}
    print("".join(f"{line}\n" for line in namespace.warnings(explained)), end="", file=sys.stderr)


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--timeout", type=float, default=300)
    parser.add_argument("--patience", type=float, default=30)
    parser.add_argument("workloads", nargs="+", metavar="KIND/NAME[:CONDITION]")
    args = parser.parse_args()
    namespace = Namespace(args.namespace)
    deadline = time.monotonic() + args.timeout
    start_again(namespace)
    for workload in args.workloads:
        if not wait(namespace, workload, deadline, args.patience):
            explain(namespace, workload)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
