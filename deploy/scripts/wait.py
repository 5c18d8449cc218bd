"""Wait until workloads are ready; when they cannot become so, say why at once instead of running out of time.

`kubectl rollout status` and `kubectl wait` do the waiting. Meanwhile this looks at the pods, which they do not: pods
that could not start before are started again first, and what keeps a pod from starting for half a minute (PATIENCE)
ends the waiting. Each cause is printed once, however many pods it stops.

usage: NAMESPACE=N [TIMEOUT=SECONDS] [PATIENCE=SECONDS] wait.py KIND/NAME[:CONDITION] ...
kinds: statefulset, deployment, and Knative's ksvc and revision, whose condition is Ready unless it is named
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

NAMESPACE = os.environ["NAMESPACE"]
TIMEOUT = float(os.environ.get("TIMEOUT") or 300)
PATIENCE = float(os.environ.get("PATIENCE") or 30)
INTERVAL = 2
# A container waits for these without anything being wrong.
STARTING = {"ContainerCreating", "PodInitializing"}


class Trouble(NamedTuple):
    """Why something cannot become ready. pod and container: empty where it is not about one."""

    cause: str
    message: str
    pod: str = ""
    container: str = ""


def command(*args: str) -> list[str]:
    """Return a command of kubectl for the namespace."""
    return ["kubectl", f"--namespace={NAMESPACE}", *args]


def kubectl(*args: str) -> str:
    """Return what kubectl prints, or nothing when it fails."""
    return subprocess.run(command(*args), capture_output=True, text=True, check=False).stdout  # noqa: S603


def get(*args: str) -> Any:
    """Return an object or a list of them; an empty one where there is nothing."""
    return json.loads(kubectl("get", *args, "--output=json", "--ignore-not-found") or "{}")


def revision(pod: Any) -> tuple[str, int]:
    """Return the Knative Service that a pod belongs to, and which of its generations; "" and 0 for other pods."""
    labels = pod["metadata"].get("labels", {})
    generation = labels.get("serving.knative.dev/configurationGeneration", "0")
    return labels.get("serving.knative.dev/service", ""), int(generation)


def pods() -> list[Any]:
    """Return the pods; of a Knative Service only those of its newest revision that has any."""
    found: list[Any] = get("pods").get("items", [])
    newest = dict(sorted(map(revision, found)))
    # A revision that never started keeps its pods for minutes after another has taken its place.
    return [pod for pod in found if revision(pod) in newest.items()]


def split(workload: str) -> tuple[str, str]:
    """Split KIND/NAME[:CONDITION]; there is no condition for Kubernetes' own kinds."""
    name, _, condition = workload.partition(":")
    return name, "" if name.startswith(("deployment/", "statefulset/")) else condition or "Ready"


def troubles(workload: str = "") -> Iterator[Trouble]:
    """Yield what keeps pods from starting, and what Knative says of the workload if it is one of its kinds."""
    for pod in pods():
        name, status = pod["metadata"]["name"], pod.get("status", {})
        for container in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
            waiting = container.get("state", {}).get("waiting", {})
            if (reason := waiting.get("reason", "ContainerCreating")) not in STARTING:
                # A pull that failed and one that will be tried again have one cause.
                cause = f"{container.get('image')} {'pull' if 'ImagePull' in reason else reason}"
                yield Trouble(cause, f"{reason}: {waiting.get('message', '')}", name, container["name"])
        for condition in status.get("conditions", []):
            if condition.get("reason") == "Unschedulable":
                yield Trouble("Unschedulable", f"Unschedulable: {condition.get('message', '')}", name)
    name, wanted = split(workload)
    for condition in get(name).get("status", {}).get("conditions", []) if wanted and name else []:
        if condition["type"] == wanted and condition["status"] == "False":
            yield Trouble(workload, f"{condition.get('reason', '')}: {condition.get('message', '')}")


def start_again() -> None:
    """Delete the pods that cannot start, so that what has been mended since is tried now.

    A kubelet may try again only after five minutes, and a StatefulSet does not replace a pod that was never ready
    (Kubernetes, "StatefulSets: Forced rollback").
    """
    names = sorted({trouble.pod for trouble in troubles() if trouble.container})
    if names:
        print(f"starting again, because they could not start before: {', '.join(names)}", flush=True)
        kubectl("delete", "pod", "--ignore-not-found", *names)


def wait(workload: str, deadline: float) -> bool:
    """Wait until the workload exists and is ready; give up at the deadline, or when something keeps it from that."""
    name, condition = split(workload)
    ready = ["wait", name, f"--for=condition={condition}"] if condition else ["rollout", "status", name]
    since: dict[str, float] = {}
    for step in (["wait", name, "--for=create"], ready):
        timeout = f"--timeout={max(1, deadline - time.monotonic()):.0f}s"
        with subprocess.Popen(command(*step, timeout)) as process:  # noqa: S603
            while process.poll() is None:
                now = time.monotonic()
                since = {trouble.cause: since.get(trouble.cause, now) for trouble in troubles(workload)}
                if any(now - first > PATIENCE for first in since.values()):
                    process.terminate()
                    return False
                try:
                    process.wait(INTERVAL)
                except subprocess.TimeoutExpired:
                    continue
        if process.returncode:
            return False
    return True


def explain(workload: str) -> None:
    """Print what the cluster knows of why the workload is not ready."""
    lines = [f"{workload} is not ready"]
    causes: dict[str, list[Trouble]] = {}
    for trouble in troubles(workload):
        causes.setdefault(trouble.cause, []).append(trouble)
    for first, *others in causes.values():
        more = f" and {len(others)} more" if others else ""
        lines.append(f"pod/{first.pod}{more}: {first.message}" if first.pod else f"{workload}: {first.message}")
        if first.container:
            log = ["logs", first.pod, f"--container={first.container}", "--tail=10"]
            lines += [f"  | {line}" for line in (kubectl(*log) or kubectl(*log, "--previous")).splitlines()]
    if any(cause.endswith(" pull") for cause in causes):
        lines.append("`make build push` with the same REGISTRY and TAG puts the images there")
    explained = {trouble.pod for found in causes.values() for trouble in found}
    print(*lines, *warnings({pod["metadata"]["name"] for pod in pods()} - explained), sep="\n", file=sys.stderr)


def warnings(names: set[str]) -> list[str]:
    """Return the last few events that warn of these pods or of what is no pod, each once."""
    found = {}
    for event in get("events", "--field-selector=type=Warning", "--sort-by=.lastTimestamp").get("items", []):
        about = event["involvedObject"]
        # An autoscaler without a metrics server complains forever, and scales nothing wrongly.
        if about["kind"] != "HorizontalPodAutoscaler" and (about["kind"] != "Pod" or about["name"] in names):
            found[event["reason"], event["message"]] = f"event {about['kind']}/{about['name']}"
    return [f"{about}: {reason}: {message}" for (reason, message), about in list(found.items())[-8:]]


def main() -> int:
    """Wait for the workloads of the command line, one after the other."""
    deadline = time.monotonic() + TIMEOUT
    start_again()
    for workload in sys.argv[1:]:
        if not wait(workload, deadline):
            explain(workload)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
