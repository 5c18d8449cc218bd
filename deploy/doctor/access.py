"""Checks of kubectl: its version, and access to the current cluster.

`python3 -m deploy.doctor.access` prints the problem and exits with 1, or prints nothing.
`python3 -m deploy.doctor.access serves GROUP` prints `yes` if the cluster serves this API group.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy.doctor.finding import IN_CLUSTER, MISSING, OK, Finding, minor, reply, said

INSTALL = "https://kubernetes.io/docs/tasks/tools/ explains how to install it"
# kubectl's errors if there is a cluster, but no valid credentials or permission.
DENIED = re.compile(
    r"Unauthorized|logged in|credential|getting token|exec plugin|exec: |forbidden|x509|certificate|OAuth|oidc",
    re.IGNORECASE,
)
LOG_IN = (
    "log in again with your cluster's own command (`aws eks update-kubeconfig`, `az aks get-credentials`, "
    "`gcloud container clusters get-credentials`), or choose another context: CONTEXT=NAME"
)
# Seconds in which kubectl has to answer: its credential plugin may wait for a login in a browser.
KUBECTL_TIMEOUT = 20
# A line of kubectl's log, such as E1127 10:00:00.000000 4711 memcache.go:265] "..."
LOG = re.compile(r"[IWEF]\d{4} ")


def get(*what: str) -> Any:
    """Return the result of `kubectl get`, parsed; None if it is forbidden or the kind is unknown."""
    command = ["kubectl", "get", *what, "--output=json", "--ignore-not-found"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=3 * KUBECTL_TIMEOUT)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    return json.loads(done.stdout.strip() or "{}") if done.returncode == 0 else None


def kubectl_version(environment: Mapping[str, str] = os.environ) -> Finding:
    """Whether kubectl is installed, and new enough for the scripts."""
    oldest = environment.get("KUBECTL_OLDEST", "")
    there, words = said("kubectl", "version", "--client", "--output=json")
    if not there and words.startswith("kubectl cannot be run"):
        return Finding("kubectl", MISSING, words, IN_CLUSTER, INSTALL)
    if not there and words.endswith("is not there"):
        return Finding("kubectl", MISSING, "kubectl is missing", IN_CLUSTER, INSTALL)
    try:
        version = json.loads(words)["clientVersion"]["gitVersion"] if there else ""
    except (ValueError, KeyError):
        version = ""
    if version and oldest and minor(version) < minor(oldest):
        what = f"kubectl is {version}, and {oldest} is the oldest that works"
        return Finding("kubectl", MISSING, what, IN_CLUSTER, INSTALL)
    return Finding("kubectl", OK, f"kubectl {version}".strip(), IN_CLUSTER)


def answer() -> Finding:
    """Whether the cluster answers kubectl; if not, with kubectl's error."""
    try:
        done = subprocess.run(
            ["kubectl", "get", "--raw", "/version", "--request-timeout=10s"],  # noqa: S607
            capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=KUBECTL_TIMEOUT,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        what = f"kubectl does not answer in context {context()} within {KUBECTL_TIMEOUT} s"
        fix = "`kubectl version` shows what it waits for, often a login; then again, or choose another CONTEXT=NAME"
        return Finding("cluster", MISSING, what, IN_CLUSTER, fix)
    if done.returncode == 0:
        return Finding("cluster", OK, f"context {context()} answers", IN_CLUSTER)
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip() and not LOG.match(line)]
    # kubectl repeats a line when it retries.
    words = "\n".join(f"  {line}" for line in dict.fromkeys(lines))
    if DENIED.search(done.stderr):
        what = f"kubectl may not talk to the cluster of context {context()}:\n{words}"
        return Finding("cluster", MISSING, what, IN_CLUSTER, LOG_IN)
    fix = "`make cluster` makes one with kind, or point kubectl at yours"
    where = f" in context {context()}" if context() else ""
    return Finding("cluster", MISSING, f"no cluster answers kubectl{where}: {fix}\n{words}".rstrip(), IN_CLUSTER)


def context() -> str:
    """Return the name of kubectl's current context, or ""."""
    found, words = said("kubectl", "config", "current-context")
    return words if found else ""


def pin() -> None:
    """Pin the current context for this process and its children, as pin_context in lib.sh does."""
    name = os.environ.get("CONTEXT") or context()
    if not name:
        return
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", delete=False) as pinned:
        pinned.write(json.dumps({"apiVersion": "v1", "kind": "Config", "current-context": name}))
    atexit.register(os.unlink, pinned.name)
    others = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube/config")
    os.environ["KUBECONFIG"] = f"{pinned.name}{os.pathsep}{others}"


def serves(group: str) -> bool:
    """Return whether the API server serves an API group: reading CRDs needs an administrator."""
    return said("kubectl", "get", "--raw", f"/apis/{group}")[0]


def main(name: str = "", group: str = "") -> int:
    """Run a check for a script."""
    if name == "serves":
        return reply([], "yes" if serves(group) else "")
    return reply(check() for check in (kubectl_version, answer))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
