"""Lesson 21, From sidecars to ambient mode: a namespace moves across and back while it is used, and nothing is open."""

import json
import runpy
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from lessons.runner.check import Check, show
from lessons.runner.lesson import About
from lessons.runner.stranger import Stranger

ABOUT = About(
    title="From sidecars to ambient mode",
    learn="move a running application from sidecars to ambient mode and back, step by step, and count what fails",
    look="Start the lesson again, and `kubectl get pods --watch` in another terminal: the pods go from two containers "
    "to one, service after service, and back.",
    think="user moves before todolist, which calls it. What would happen the other way round?",
    places=("istio",),
    elsewhere={
        "laptop": "There are no sidecars: one Envoy does the work of all.",
        "ambient": "It begins with the Istio set, and comes back to it: deploy that one, if need be into another "
        "NAMESPACE.",
        "knative": "Knative's net-istio does not support ambient mode.",
    },
)

HERE = Path(__file__).parent
MOVE = runpy.run_path(str(HERE / "move.py"))
# The labels of a pod that is in no mesh.
OUTSIDE = {"sidecar.istio.io/inject": "false", "istio.io/dataplane-mode": "none"}
# Seconds that each state is watched.
WATCHED = 10


def run(check: Check) -> None:
    cluster = check.cluster
    if not cluster.has_ambient_mode():
        print("  skipped: this needs `make install-istio MODE=ambient`")
        return
    move = MOVE["Move"](cluster)
    with watched(check) as watch:
        watch.report("as it is deployed: sidecars")
        try:
            go(watch, move.there())
            alone = all(len(pod["spec"]["containers"]) == 1 for pod in cluster.pods("app in (todolist, user, rule)"))
            check.that(alone, "No pod of todolist, user and rule has a sidecar", "one container in each")
        finally:
            show("  then   all the way back")
            go(watch, move.back())
    names = [one["name"] for pod in cluster.pods("app in (todolist, user, rule)") for one in proxies(pod)]
    check.that(names, f"{len(names)} pods of todolist, user and rule have a sidecar again", "all")


def proxies(pod: Any) -> list[Any]:
    """Return the containers of a pod that are sidecars: native ones are init containers that go on running."""
    containers = [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]
    return [each for each in containers if each["name"] == "istio-proxy"]


def go(watch: "Watch", steps: Iterator[Any]) -> None:
    """Take the steps, and report after each."""
    for step in steps:
        step.do()
        watch.report(step.what, step.costs)


class Stream:
    """A program that runs in a pod, and prints lines with what it has sent and what it counts as failed."""

    def __init__(self, pod: Stranger, program: str, *arguments: str) -> None:
        self._process = pod.stream((HERE / program).read_text(encoding="utf-8"), *arguments)
        self._lock, self._sent, self._failed = threading.Lock(), 0, list[str]()
        threading.Thread(target=self._collect, daemon=True).start()

    def take(self) -> tuple[int, list[str]]:
        """Return what was counted since the last time."""
        with self._lock:
            taken = self._sent, self._failed
            self._sent, self._failed = 0, []
        return taken

    def end(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()

    def _collect(self) -> None:
        assert isinstance(self._process, subprocess.Popen)  # noqa: S101 - it is one
        for line in self._process.stdout or ():
            counted = json.loads(line)
            with self._lock:
                self._sent += counted["sent"]
                self._failed += counted["failed"]


class Watch:
    """Counts what fails for users, and what is allowed to callers without permission."""

    def __init__(self, check: Check, users: Stream, intruders: dict[str, Stream]) -> None:
        self._check, self._users, self._intruders = check, users, intruders
        self._ended = threading.Event()

    def report(self, what: str, costs: str = "") -> None:
        """Print what was counted since the last report, a while after a step. costs: why requests may have failed."""
        # Some requests have to meet the new configuration.
        self._ended.wait(WATCHED)
        sent, failed = self._users.take()
        said = f"{what}: {len(failed)} of {sent} requests failed"
        expected = "0, and some requests"
        kinds = f" ({', '.join(sorted(set(failed)))})" if failed else ""
        if costs:
            show(f"         {said}{kinds}: {costs}")
        else:
            self._check.that(sent and not failed, said + kinds, expected)
        for name, stream in self._intruders.items():
            tries, allowed = stream.take()
            said = f"{name}: {len(allowed)} of {tries} calls without permission were allowed"
            which = f" ({', '.join(sorted(set(allowed)))})" if allowed else ""
            self._check.that(tries and not allowed, said + which, "0, and some tries")


@contextmanager
def watched(check: Check) -> Iterator[Watch]:
    """Send requests of users, and of callers without permission: with a sidecar, by ztunnel, and outside the mesh."""
    cluster = check.cluster
    url = cluster.address_inside()
    with ExitStack() as stack:
        # Outside the mesh also when the namespace has the label: ztunnel would break the connections that are open.
        pod = stack.enter_context(cluster.stranger(name="users", labels=OUTSIDE))
        users = Stream(pod, "users.py", url, cluster.authority())
        stack.callback(users.end)
        intruders = {}
        for name, labels in (
            ("with a sidecar", {"sidecar.istio.io/inject": "true"}),
            ("by ztunnel", {"sidecar.istio.io/inject": "false", "istio.io/dataplane-mode": "ambient"}),
            ("outside the mesh", OUTSIDE),
        ):
            pod = stack.enter_context(cluster.stranger(name=name.replace(" ", "-"), labels=labels))
            intruders[f"A caller {name}"] = Stream(pod, "intruder.py", cluster.namespace)
            stack.callback(intruders[f"A caller {name}"].end)
        yield Watch(check, users, intruders)
