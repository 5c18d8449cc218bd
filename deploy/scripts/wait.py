"""Wait until workloads are ready; when they cannot become so, say why at once instead of running out of time.

`kubectl rollout status` and `kubectl wait` do the waiting. Meanwhile this looks at the pods, which they do not: pods
that could not start before are started again first, and what keeps a pod from being made or from starting for half a
minute (PATIENCE) ends the waiting. Each cause is printed once, however many pods it stops: a quota, a policy, an image.
Of a container that runs and never becomes ready the log is printed.

usage: NAMESPACE=N [TIMEOUT=SECONDS] [PATIENCE=SECONDS] wait.py KIND/NAME[:CONDITION] ...
kinds: statefulset, deployment, and Knative's ksvc and revision, whose condition is Ready unless it is named
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple


def seconds(name: str, default: float) -> float:
    """Return a setting in seconds; end with a line that says what is wrong with it."""
    text = os.environ.get(name) or str(default)
    try:
        return float(text)
    except ValueError:
        sys.exit(f"{name} is {text}: it is a number of seconds, such as {default:.0f}")


NAMESPACE = os.environ["NAMESPACE"]
TIMEOUT = seconds("TIMEOUT", 300)
PATIENCE = seconds("PATIENCE", 30)
INTERVAL = 2
# In a namespace that is not ours alone, what others have there is no reason of ours.
OURS = ["--selector=app.kubernetes.io/part-of=todolist"] if os.environ.get("KEEP_NAMESPACE") else []
# Deployments that Istio makes, and the Gateways for which it does.
PROXIES = {"deployment/ingress-istio": "ingress", "deployment/waypoint": "waypoint"}
# A container waits for these without anything being wrong.
STARTING = {"ContainerCreating", "PodInitializing"}


class Trouble(NamedTuple):
    """Why something cannot become ready. what: KIND/NAME; container: empty where it is not about one."""

    cause: str
    message: str
    what: str
    container: str = ""
    image: str = ""


def command(*args: str) -> list[str]:
    """Return a command of kubectl for the namespace."""
    return ["kubectl", f"--namespace={NAMESPACE}", *args]


def kubectl(*args: str) -> str:
    """Return what kubectl prints, or nothing when it fails."""
    return subprocess.run(command(*args), capture_output=True, text=True, check=False).stdout  # noqa: S603


def get(*args: str) -> Any:
    """Return an object or a list of them; an empty one where there is nothing."""
    return json.loads(kubectl("get", *args, "--output=json", "--ignore-not-found").strip() or "{}")


def revision(thing: Any) -> tuple[str, int]:
    """Return the Knative Service that a pod or Deployment belongs to, and which of its generations; else "" and 0."""
    labels = thing["metadata"].get("labels", {})
    generation = labels.get("serving.knative.dev/configurationGeneration", "0")
    return labels.get("serving.knative.dev/service", ""), int(generation)


def pods() -> list[Any]:
    """Return the pods; of a Knative Service only those of its newest revision that has any."""
    found: list[Any] = get("pods", *OURS).get("items", [])
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
                message = f"{reason}: {waiting.get('message', '')}"
                yield Trouble(cause, message, f"pod/{name}", container["name"], container.get("image", ""))
        if without_sidecar(pod):
            message = "it has no sidecar: when it was made, no Istio took this namespace for its own"
            yield Trouble("no sidecar", message, f"pod/{name}")
        for condition in status.get("conditions", []):
            if condition.get("reason") == "Unschedulable":
                yield Trouble("Unschedulable", f"Unschedulable: {condition.get('message', '')}", f"pod/{name}")
    yield from refusals()
    if workload in PROXIES:
        yield from unclaimed(PROXIES[workload])
    name, wanted = split(workload)
    for condition in get(name).get("status", {}).get("conditions", []) if wanted and name else []:
        if condition["type"] == wanted and condition["status"] == "False":
            yield Trouble(workload, f"{condition.get('reason', '')}: {condition.get('message', '')}", workload)


def refusals() -> Iterator[Trouble]:
    """Yield what keeps pods from being made at all: a quota, a limit range, Pod Security, a policy's webhook.

    Whoever makes the pods says it: a Deployment in a condition, a StatefulSet in an event.
    """
    deployments = get("deployments", *OURS).get("items", [])
    newest = dict(sorted(map(revision, deployments)))
    for deployment in deployments:
        if revision(deployment) not in newest.items():
            continue
        for condition in deployment.get("status", {}).get("conditions", []):
            if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
                yield refusal(f"deployment/{deployment['metadata']['name']}", condition)
    sets = get("statefulsets", *OURS).get("items", [])
    short = {item["metadata"]["name"] for item in sets if not item.get("status", {}).get("replicas")}
    events = (
        get("events", "--field-selector=involvedObject.kind=StatefulSet", "--sort-by=.lastTimestamp") if short else {}
    )
    # The last word of each: an earlier refusal may be over.
    last = {event["involvedObject"]["name"]: event for event in events.get("items", [])}
    for name, event in last.items():
        if name in short and event["reason"] == "FailedCreate":
            yield refusal(f"statefulset/{name}", event)


def refusal(whose: str, said: Any) -> Trouble:
    """Return a refusal to make a pod. Its cause is the rule, without the pod's name, which is another each time."""
    message = said.get("message", "")
    rule = message.partition("is forbidden: ")[2] or message.partition(" denied the request: ")[2] or message
    # Of a quota: its name. The figures change with each pod.
    return Trouble(rule.partition(", requested:")[0], f"{said.get('reason', '')}: {message}", whose)


def unclaimed(gateway: str) -> Iterator[Trouble]:
    """Yield why no proxy is started for a Gateway. That it has no address yet is no reason: a laptop gives none."""
    for condition in get(f"gateways.gateway.networking.k8s.io/{gateway}").get("status", {}).get("conditions", []):
        if condition["type"] == "Accepted" and condition["status"] != "True":
            message = f"{condition.get('reason', '')}: {condition.get('message', '')}"
            if condition["status"] == "Unknown":
                message += " (no Istio takes this namespace's Gateways: its label istio.io/rev says which one does)"
            yield Trouble(f"gateway/{gateway}", message, f"gateway/{gateway}")


def without_sidecar(pod: Any) -> bool:
    """Say whether a pod of ours, in a set with sidecars, has none: with strict mutual TLS it is cut off."""
    labels, spec = pod["metadata"].get("labels", {}), pod.get("spec", {})
    ours = labels.get("app.kubernetes.io/part-of") == "todolist" and labels.get("sidecar.istio.io/inject") != "false"
    containers = [*spec.get("initContainers", []), *spec.get("containers", [])]
    has = any(container["name"] == "istio-proxy" for container in containers)
    return os.environ.get("TARGET") in ("istio", "knative") and ours and bool(containers) and not has


def start_again() -> None:
    """Delete the pods that cannot start, so that what has been mended since is tried now.

    A kubelet may try again only after five minutes, and a StatefulSet does not replace a pod that was never ready
    (Kubernetes, "StatefulSets: Forced rollback").
    """
    wrong = [trouble for trouble in troubles() if trouble.container or trouble.cause == "no sidecar"]
    names = sorted({trouble.what.partition("/")[2] for trouble in wrong})
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
        lines.append(f"{first.what}{more}: {first.message}")
        if first.container:
            lines += log(first.what, first.container)
    # Each hint once: several images may lack the same.
    lines += dict.fromkeys(image_hint(found[0]) for found in causes.values() if found[0].cause.endswith(" pull"))
    explained = {trouble.what.partition("/")[2] for found in causes.values() for trouble in found}
    waiting = [pod for pod in pods() if pod["metadata"]["name"] not in explained]
    for image, (pod, container) in never_ready(waiting).items():
        lines.append(f"pod/{pod}: {container} ({image}) runs, and is not ready. Its log:")
        lines += log(f"pod/{pod}", container) or ["  | (it is empty)"]
    print(*lines, *warnings({pod["metadata"]["name"] for pod in waiting}), sep="\n", file=sys.stderr)


def log(pod: str, container: str) -> list[str]:
    """Return the last lines of a container's log, or of the one before it."""
    command = ["logs", pod.partition("/")[2], f"--container={container}", "--tail=10"]
    return [f"  | {line}" for line in (kubectl(*command) or kubectl(*command, "--previous")).splitlines()]


def never_ready(found: list[Any]) -> dict[str, tuple[str, str]]:
    """Return a container of each image that runs and is not ready: pod and container."""
    running: dict[str, tuple[str, str]] = {}
    for pod in found:
        if "deletionTimestamp" in pod["metadata"]:
            continue
        status = pod.get("status", {})
        for container in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
            # An init container that ends is never ready while it runs; a sidecar among them is.
            if "running" in container.get("state", {}) and container.get("ready") is False:
                running.setdefault(container.get("image", ""), (pod["metadata"]["name"], container["name"]))
    return running


def image_hint(trouble: Trouble) -> str:
    """Return what brings an image that cannot be pulled: ours is built, others come from a registry."""
    registry = os.environ.get("REGISTRY") or "dev.local"
    if not trouble.image.startswith(f"{registry}/"):
        return f"{trouble.image} is not ours: the nodes have to reach its registry, or a mirror of it (MIRROR=)"
    if re.search(r"unauthorized|authentication|denied|forbidden|\b40[13]\b", trouble.message, re.IGNORECASE):
        return f"{registry} wants a password: IMAGE_PULL_SECRET= names the Secret that has it"
    if re.search(r"no match for platform|no matching manifest", trouble.message):
        return "the nodes are other machines: `make build push PLATFORMS=linux/amd64,linux/arm64` is for both kinds"
    return "`make build push` with the same REGISTRY and TAG puts the images there"


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
