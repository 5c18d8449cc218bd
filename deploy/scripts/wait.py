"""Wait until workloads are ready; on a persistent failure print its cause early, before the timeout.

`kubectl rollout status` and `kubectl wait` do the waiting. Meanwhile this checks the pods, which they do not: pods that
failed to start before are recreated first, and a failure to create or start a pod that lasts for half a minute
(FAILURE_TIMEOUT) ends the waiting. Each cause, such as a quota, a policy or an image, is printed once, however many
pods it affects. For a container that runs and is not ready the log is printed.

usage: NAMESPACE=N [TIMEOUT=SECONDS] [FAILURE_TIMEOUT=SECONDS] wait.py KIND/NAME[:CONDITION] ...
kinds: statefulset, deployment, and Knative's ksvc and revision, whose default condition is Ready
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple


def seconds(name: str, default: float) -> float:
    """Return a setting in seconds; exit with a message if it is invalid."""
    text = os.environ.get(name) or str(default)
    try:
        return float(text)
    except ValueError:
        sys.exit(f"{name} is {text}: it is a number of seconds, such as {default:.0f}")


NAMESPACE = os.environ["NAMESPACE"]
TIMEOUT = seconds("TIMEOUT", 300)
FAILURE_TIMEOUT = seconds("FAILURE_TIMEOUT", 30)
INTERVAL = 2
# In a shared namespace, only our own objects are considered.
OURS = ["--selector=app.kubernetes.io/part-of=todolist"] if os.environ.get("KEEP_NAMESPACE") else []
# Deployments that Istio creates, and their Gateways.
PROXIES = {"deployment/ingress-istio": "ingress", "deployment/waypoint": "waypoint"}
# Waiting reasons of a container that are part of a normal start.
STARTING = {"ContainerCreating", "PodInitializing"}


class Failure(NamedTuple):
    """Why something cannot become ready. what: KIND/NAME; container: empty if it does not concern one."""

    cause: str
    message: str
    what: str
    container: str = ""
    image: str = ""


def command(*args: str) -> list[str]:
    """Return a command of kubectl for the namespace."""
    return ["kubectl", f"--namespace={NAMESPACE}", *args]


def kubectl(*args: str) -> str:
    """Return the output of kubectl, or "" if it fails."""
    return subprocess.run(command(*args), capture_output=True, text=True, check=False).stdout  # noqa: S603


def get(*args: str) -> Any:
    """Return an object or a list, or an empty dictionary."""
    return json.loads(kubectl("get", *args, "--output=json", "--ignore-not-found").strip() or "{}")


def revision(thing: Any) -> tuple[str, int]:
    """Return the Knative Service and generation of a pod or Deployment, or "" and 0."""
    labels = thing["metadata"].get("labels", {})
    generation = labels.get("serving.knative.dev/configurationGeneration", "0")
    return labels.get("serving.knative.dev/service", ""), int(generation)


def pods() -> list[Any]:
    """Return the pods; of a Knative Service only those of its newest revision with pods."""
    found: list[Any] = get("pods", *OURS).get("items", [])
    newest = dict(sorted(map(revision, found)))
    # A revision that never started keeps its pods for minutes after it has been replaced.
    return [pod for pod in found if revision(pod) in newest.items()]


def split(workload: str) -> tuple[str, str]:
    """Split KIND/NAME[:CONDITION]; Kubernetes' own kinds have no condition."""
    name, _, condition = workload.partition(":")
    return name, "" if name.startswith(("deployment/", "statefulset/")) else condition or "Ready"


def failures(workload: str = "") -> Iterator[Failure]:
    """Yield the failures of pods to start, and the failed condition of a Knative workload."""
    for pod in pods():
        name, status = pod["metadata"]["name"], pod.get("status", {})
        for container in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
            waiting = container.get("state", {}).get("waiting", {})
            if (reason := waiting.get("reason", "ContainerCreating")) not in STARTING:
                # ErrImagePull and ImagePullBackOff have the same cause.
                cause = f"{container.get('image')} {'pull' if 'ImagePull' in reason else reason}"
                message = f"{reason}: {waiting.get('message', '')}"
                yield Failure(cause, message, f"pod/{name}", container["name"], container.get("image", ""))
        if without_sidecar(pod):
            message = "it has no sidecar: when it was created, no Istio injected sidecars into this namespace"
            yield Failure("no sidecar", message, f"pod/{name}")
        for condition in status.get("conditions", []):
            if condition.get("reason") == "Unschedulable":
                yield Failure("Unschedulable", f"Unschedulable: {condition.get('message', '')}", f"pod/{name}")
    yield from rejections()
    if workload in PROXIES:
        yield from unclaimed(PROXIES[workload])
    name, wanted = split(workload)
    for condition in get(name).get("status", {}).get("conditions", []) if wanted and name else []:
        if condition["type"] == wanted and condition["status"] == "False":
            yield Failure(workload, f"{condition.get('reason', '')}: {condition.get('message', '')}", workload)


def rejections() -> Iterator[Failure]:
    """Yield the failures to create pods: a quota, a limit range, Pod Security, an admission webhook.

    A Deployment reports them in a condition, a StatefulSet in an event.
    """
    deployments = get("deployments", *OURS).get("items", [])
    newest = dict(sorted(map(revision, deployments)))
    for deployment in deployments:
        if revision(deployment) not in newest.items():
            continue
        for condition in deployment.get("status", {}).get("conditions", []):
            if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
                yield rejection(f"deployment/{deployment['metadata']['name']}", condition)
    sets = get("statefulsets", *OURS).get("items", [])
    short = {item["metadata"]["name"] for item in sets if not item.get("status", {}).get("replicas")}
    events = (
        get("events", "--field-selector=involvedObject.kind=StatefulSet", "--sort-by=.lastTimestamp") if short else {}
    )
    # The last event of each: an earlier one may be resolved.
    last = {event["involvedObject"]["name"]: event for event in events.get("items", [])}
    for name, event in last.items():
        if name in short and event["reason"] == "FailedCreate":
            yield rejection(f"statefulset/{name}", event)


def rejection(whose: str, said: Any) -> Failure:
    """Return the failure to create a pod. Its cause is the rule, without the pod's name, which differs each time."""
    message = said.get("message", "")
    rule = message.partition("is forbidden: ")[2] or message.partition(" denied the request: ")[2] or message
    # For a quota, without the figures, which change with each pod.
    return Failure(rule.partition(", requested:")[0], f"{said.get('reason', '')}: {message}", whose)


def unclaimed(gateway: str) -> Iterator[Failure]:
    """Yield why no proxy is started for a Gateway. A missing address is not a failure: a laptop has none."""
    for condition in get(f"gateways.gateway.networking.k8s.io/{gateway}").get("status", {}).get("conditions", []):
        if condition["type"] == "Accepted" and condition["status"] != "True":
            message = f"{condition.get('reason', '')}: {condition.get('message', '')}"
            if condition["status"] == "Unknown":
                message += " (no Istio handles this namespace's Gateways: its label istio.io/rev selects one)"
            yield Failure(f"gateway/{gateway}", message, f"gateway/{gateway}")


def without_sidecar(pod: Any) -> bool:
    """Return whether one of our pods lacks its sidecar: strict mutual TLS makes it unreachable."""
    labels, spec = pod["metadata"].get("labels", {}), pod.get("spec", {})
    ours = labels.get("app.kubernetes.io/part-of") == "todolist" and labels.get("sidecar.istio.io/inject") != "false"
    containers = [*spec.get("initContainers", []), *spec.get("containers", [])]
    has = any(container["name"] == "istio-proxy" for container in containers)
    return os.environ.get("TARGET") in ("istio", "knative") and ours and bool(containers) and not has


def recreate_failed() -> None:
    """Delete the pods that failed to start, so that they are retried at once.

    A kubelet may retry only after five minutes, and a StatefulSet does not replace a pod that was never ready
    (Kubernetes, "StatefulSets: Forced rollback").
    """
    wrong = [failure for failure in failures() if failure.container or failure.cause == "no sidecar"]
    names = sorted({failure.what.partition("/")[2] for failure in wrong})
    if names:
        print(f"starting again, because they could not start before: {', '.join(names)}", flush=True)
        kubectl("delete", "pod", "--ignore-not-found", *names)


def wait(workload: str, deadline: float) -> bool:
    """Wait until the workload exists and is ready; return False at the deadline, or on a persistent failure."""
    name, condition = split(workload)
    ready = ["wait", name, f"--for=condition={condition}"] if condition else ["rollout", "status", name]
    since: dict[str, float] = {}
    for step in (["wait", name, "--for=create"], ready):
        timeout = f"--timeout={max(1, deadline - time.monotonic()):.0f}s"
        with subprocess.Popen(command(*step, timeout)) as process:  # noqa: S603
            while process.poll() is None:
                now = time.monotonic()
                since = {failure.cause: since.get(failure.cause, now) for failure in failures(workload)}
                if any(now - first > FAILURE_TIMEOUT for first in since.values()):
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
    """Print why the workload is not ready, as far as the cluster reports it."""
    lines = [f"{workload} is not ready"]
    causes: dict[str, list[Failure]] = {}
    for failure in failures(workload):
        causes.setdefault(failure.cause, []).append(failure)
    for first, *others in causes.values():
        more = f" and {len(others)} more" if others else ""
        lines.append(f"{first.what}{more}: {first.message}")
        if first.container:
            lines += log(first.what, first.container)
    # Each hint once: several images may have the same problem.
    lines += dict.fromkeys(image_hint(found[0]) for found in causes.values() if found[0].cause.endswith(" pull"))
    explained = {failure.what.partition("/")[2] for found in causes.values() for failure in found}
    waiting = [pod for pod in pods() if pod["metadata"]["name"] not in explained]
    for image, (pod, container) in never_ready(waiting).items():
        lines.append(f"pod/{pod}: {container} ({image}) runs, and is not ready. Its log:")
        lines += log(f"pod/{pod}", container) or ["  | (it is empty)"]
    print(*lines, *warnings({pod["metadata"]["name"] for pod in waiting}), sep="\n", file=sys.stderr)


def log(pod: str, container: str) -> list[str]:
    """Return the last lines of a container's log, or of its previous run."""
    command = ["logs", pod.partition("/")[2], f"--container={container}", "--tail=10"]
    return [f"  | {line}" for line in (kubectl(*command) or kubectl(*command, "--previous")).splitlines()]


def never_ready(found: list[Any]) -> dict[str, tuple[str, str]]:
    """Return, for each image, a container that runs and is not ready: pod and container."""
    running: dict[str, tuple[str, str]] = {}
    for pod in found:
        if "deletionTimestamp" in pod["metadata"]:
            continue
        status = pod.get("status", {})
        for container in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
            # A running init container is not ready unless it is a sidecar.
            if "running" in container.get("state", {}) and container.get("ready") is False:
                running.setdefault(container.get("image", ""), (pod["metadata"]["name"], container["name"]))
    return running


def image_hint(failure: Failure) -> str:
    """Return a hint for an image that cannot be pulled."""
    registry = os.environ.get("REGISTRY") or "dev.local"
    if not failure.image.startswith(f"{registry}/"):
        return (
            f"{failure.image} is a third-party image: the nodes have to reach its registry, or a mirror of it (MIRROR=)"
        )
    if re.search(r"unauthorized|authentication|denied|forbidden|\b40[13]\b", failure.message, re.IGNORECASE):
        return f"{registry} requires credentials: IMAGE_PULL_SECRET= names the Secret that has them"
    if re.search(r"no match for platform|no matching manifest", failure.message):
        return "the nodes have another architecture: `make build push PLATFORMS=linux/amd64,linux/arm64` is for both"
    return "`make build push` with the same REGISTRY and TAG pushes the images"


def warnings(names: set[str]) -> list[str]:
    """Return the last warning events about these pods, or about objects that are no pods, each once."""
    found = {}
    for event in get("events", "--field-selector=type=Warning", "--sort-by=.lastTimestamp").get("items", []):
        about = event["involvedObject"]
        # Ignored: an autoscaler without a metrics server emits warnings forever, without effect.
        if about["kind"] != "HorizontalPodAutoscaler" and (about["kind"] != "Pod" or about["name"] in names):
            found[event["reason"], event["message"]] = f"event {about['kind']}/{about['name']}"
    return [f"{about}: {reason}: {message}" for (reason, message), about in list(found.items())[-8:]]


def main() -> int:
    """Wait for the workloads of the command line, one after the other."""
    deadline = time.monotonic() + TIMEOUT
    recreate_failed()
    for workload in sys.argv[1:]:
        if not wait(workload, deadline):
            explain(workload)
            return 1
    return 0


if __name__ == "__main__":
    # Ctrl-C prints no traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(main())
