"""A pod that does not belong to the application."""

import json
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lessons.runner.cluster import Cluster

# What its sidecar may take, as in deploy/istio/todolist.yaml.
SIDECAR = {
    "sidecar.istio.io/proxyCPU": "10m",
    "sidecar.istio.io/proxyMemory": "64Mi",
    "sidecar.istio.io/proxyCPULimit": "500m",
    "sidecar.istio.io/proxyMemoryLimit": "256Mi",
    # What lesson 20 reads.
    "proxy.istio.io/config": """
proxyStatsMatcher:
  inclusionRegexps:
    - cluster\\.(outbound|PassthroughCluster).*upstream_(rq|cx)_total
""",
}
TRIES = Path(__file__).with_name("stranger_tries.py")


class Stranger:
    """A pod that runs Python, from an image that the nodes have already."""

    def __init__(self, cluster: "Cluster", namespace: str, name: str) -> None:
        self._cluster, self._namespace, self._name = cluster, namespace, name

    def start(self, account: str, *, in_mesh: bool, labels: dict[str, str] | None = None) -> None:
        """Start it and wait until it is ready.

        account: its ServiceAccount; in_mesh: with a sidecar, or by ztunnel; labels: that say so, if others do.
        """
        todolist = self._cluster.pods("app=todolist")[0]["spec"]
        container = {
            "name": "python",
            "image": todolist["containers"][0]["image"],
            "imagePullPolicy": "IfNotPresent",
            "command": ["python", "-c", "import time; time.sleep(3600)"],
            # As for todolist: what Pod Security, a quota or a limit range ask for.
            **{field: todolist["containers"][0][field] for field in ("resources", "securityContext")},
        }
        in_or_out = labels or self._cluster.mesh_labels(in_mesh=in_mesh)
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": self._name,
                "labels": {"app": "stranger", "version": "v1", **in_or_out},
                "annotations": SIDECAR,
            },
            "spec": {
                "serviceAccountName": account,
                "automountServiceAccountToken": False,
                "imagePullSecrets": todolist.get("imagePullSecrets", []),
                "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [container],
            },
        }
        self._kubectl("apply", "--filename=-", stdin=json.dumps(pod))
        self._kubectl("wait", f"pod/{self._name}", "--for=condition=Ready", "--timeout=180s")

    def python(self, program: str, *arguments: str) -> str:
        """Run a program in it, and return what it prints."""
        run = ("exec", "--stdin", self._name, "--container=python", "--", "python", "-", *arguments)
        return self._kubectl(*run, stdin=program)

    def stream(self, program: str, *arguments: str) -> subprocess.Popen[str]:
        """Start a program in it, which runs until the process that this returns is ended, and prints to its stdout."""
        pod = (f"--namespace={self._namespace}", "exec", self._name, "--container=python")
        command = ("kubectl", *pod, "--", "python", "-u", "-c", program, *arguments)
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)  # noqa: S603

    def reaches(self) -> list[str]:
        """Return which of user, rule and their databases answer it."""
        program = TRIES.read_text(encoding="utf-8")
        found: list[str] = json.loads(self.python(program, self._cluster.namespace, *self._cluster.revisions()))
        return found

    def address(self) -> str:
        """Return its IP address."""
        return self._kubectl("get", "pod", self._name, "--output=jsonpath={.status.podIP}")

    def counter(self, pattern: str) -> int:
        """Return the sum of its sidecar's counters whose whole names match a pattern."""
        command = ("--container=istio-proxy", "--", "pilot-agent", "request", "GET", "stats")
        stats = self._kubectl("exec", self._name, *command)
        return sum(
            int(found["count"]) for found in re.finditer(rf"^(?:{pattern}): (?P<count>\d+)$", stats, re.MULTILINE)
        )

    def log(self) -> str:
        """Return the log of its sidecar."""
        return self._kubectl("logs", self._name, "--container=istio-proxy")

    def remove(self) -> None:
        """Remove it at once."""
        self._kubectl("delete", "pod", self._name, "--ignore-not-found", "--grace-period=1", "--wait=false")

    def _kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return self._cluster.kubectl(f"--namespace={self._namespace}", *arguments, stdin=stdin)
