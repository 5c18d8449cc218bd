"""deploy/wait.py, told by a stand-in for kubectl what the cluster has."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support import ROOT


def pod(name: str, waiting: str = "", **labels: str) -> Any:
    state = {"waiting": {"reason": waiting, "message": f"about {name}"}} if waiting else {"running": {}}
    return {
        "metadata": {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z", "labels": labels},
        "status": {"containerStatuses": [{"name": "app", "state": state}]},
    }


def deployment(ready: int) -> Any:
    status = {"observedGeneration": 1, "readyReplicas": ready, "updatedReplicas": ready, "replicas": 1}
    return {"kind": "Deployment", "metadata": {"generation": 1}, "spec": {"replicas": 1}, "status": status}


def wait(directory: Path, ready: int, *pods: Any) -> subprocess.CompletedProcess[str]:
    """Wait a second for the deployment "rule" of a cluster that has these pods."""
    answers = {"deployment/rule": deployment(ready), "pods": {"items": list(pods)}, "events": {"items": []}}
    for name, answer in answers.items():
        (directory / name.replace("/", "-")).write_text(json.dumps(answer))
    kubectl = directory / "kubectl"
    kubectl.write_text(
        f'#!/bin/sh\n[ "$1" = get ] && exec cat "{directory}/$(echo "$2" | tr / -)"\necho "$@" >>{directory}/calls\n'
    )
    kubectl.chmod(0o755)
    command = [sys.executable, "deploy/wait.py", "--namespace=n", "--timeout=1", "deployment/rule"]
    path = f"{directory}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )


def test_what_is_ready_is_not_waited_for(tmp_path: Path) -> None:
    done = wait(tmp_path, 1, pod("rule-1"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "    deployment/rule: 1 of 1 ready\n", "")


def test_the_reason_is_printed(tmp_path: Path) -> None:
    done = wait(tmp_path, 0, pod("rule-1", "ErrImagePull"), pod("todolist-1"))
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "deployment/rule: 0 of 1 ready",
        "pod/rule-1 app: ErrImagePull: about rule-1",
        "  | `make build push` with the same REGISTRY and TAG puts it there",
    ]


def test_what_could_not_start_before_starts_again(tmp_path: Path) -> None:
    wait(tmp_path, 1, pod("rule-1", "ImagePullBackOff"), pod("rule-2"), pod("todolist-1", "ContainerCreating"))
    assert (tmp_path / "calls").read_text() == "delete pod --ignore-not-found rule-1 --namespace=n\n"


def test_a_revision_that_was_replaced_is_no_reason(tmp_path: Path) -> None:
    of_user = {"serving.knative.dev/service": "user", "serving.knative.dev/configurationGeneration": "9"}
    pods = [
        pod("user-old", "ImagePullBackOff", **of_user),
        pod("user-new", "CrashLoopBackOff", **{**of_user, "serving.knative.dev/configurationGeneration": "10"}),
        pod("other", "CrashLoopBackOff"),
    ]
    done = wait(tmp_path, 0, *pods)
    assert "user-new" in done.stderr
    assert "other" in done.stderr
    assert "user-old" not in done.stderr
