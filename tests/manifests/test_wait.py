"""deploy/scripts/wait.py, told by a stand-in for kubectl what the cluster has."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support import ROOT

# Answers `get` from files, keeps what would change something, and waits as the test says.
KUBECTL = """#!/bin/sh
cd "$(dirname "$0")"
[ "$1" = --namespace=n ] && shift
case "$*" in
  get*) cat "$(echo "$2" | tr / -)" ;;
  *--for=create*) ;;
  rollout* | wait*) echo "$*" >>waited; exec {waiting} ;;
  *) echo "$*" >>calls ;;
esac
"""
READY, NEVER, TOO_LATE = "true", "sleep 60", "false"


def pod(name: str, waiting: str = "", image: str = "dev.local/rule:1", **labels: str) -> Any:
    state = {"waiting": {"reason": waiting, "message": f"about {name}"}} if waiting else {"running": {}}
    return {
        "metadata": {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z", "labels": labels},
        "status": {"containerStatuses": [{"name": "app", "image": image, "state": state}]},
    }


def wait(
    directory: Path, waiting: str, *pods: Any, workload: str = "deployment/rule", patience: int = 0, **more: Any
) -> subprocess.CompletedProcess[str]:
    """Wait for a workload in a cluster that has these pods and more."""
    for name, answer in {"pods": {"items": pods}, "events": {"items": []}, **more}.items():
        (directory / name).write_text(json.dumps(answer))
    kubectl = directory / "kubectl"
    kubectl.write_text(KUBECTL.replace("{waiting}", waiting))
    kubectl.chmod(0o755)
    command = [sys.executable, "deploy/scripts/wait.py", workload]
    env = {
        **os.environ,
        "NAMESPACE": "n",
        "TIMEOUT": "20",
        "PATIENCE": str(patience),
        "PATH": f"{directory}{os.pathsep}{os.environ['PATH']}",
    }
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=30)


def test_what_is_ready_is_not_waited_for(tmp_path: Path) -> None:
    done = wait(tmp_path, READY, pod("rule-1"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "waited").read_text().startswith("rollout status deployment/rule --timeout=")


def test_a_cause_ends_the_waiting_and_is_printed_once(tmp_path: Path) -> None:
    pods = [pod(f"rule-{n}", "ErrImagePull" if n % 2 else "ImagePullBackOff") for n in range(4)]
    done = wait(tmp_path, NEVER, *pods, pod("user-1", "ImagePullBackOff", "dev.local/user:1"), pod("todolist-1"))
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "deployment/rule is not ready",
        "pod/rule-0 and 3 more: ImagePullBackOff: about rule-0",
        "pod/user-1: ImagePullBackOff: about user-1",
        "`make build push` with the same REGISTRY and TAG puts the images there",
    ]


def test_events_tell_what_the_pods_do_not(tmp_path: Path) -> None:
    def event(kind: str, name: str, message: str) -> Any:
        return {
            "involvedObject": {"kind": kind, "name": name},
            "reason": "Why",
            "message": message,
            "lastTimestamp": "",
        }

    events = [
        event("Pod", "rule-1", "secret not found"),
        event("Pod", "rule-2", "secret not found"),
        event("Pod", "rule-3", "explained by its container"),
        event("Pod", "gone", "of an earlier deployment"),
        event("ReplicaSet", "rule", "exceeded quota"),
        event("HorizontalPodAutoscaler", "rule", "no metrics"),
    ]
    pods = [pod("rule-1"), pod("rule-2"), pod("rule-3", "CrashLoopBackOff")]
    done = wait(tmp_path, TOO_LATE, *pods, events={"items": events})
    assert done.returncode == 1
    assert done.stderr.splitlines()[2:] == [
        "event Pod/rule-2: Why: secret not found",
        "event ReplicaSet/rule: Why: exceeded quota",
    ]


def test_what_knative_says_ends_the_waiting(tmp_path: Path) -> None:
    condition = {"type": "Ready", "status": "False", "reason": "RevisionFailed", "message": "no such digest"}
    found = {"status": {"conditions": [condition]}}
    done = wait(tmp_path, NEVER, workload="ksvc/user", **{"ksvc-user": found})
    assert (done.returncode, done.stderr) == (1, "ksvc/user is not ready\nksvc/user: RevisionFailed: no such digest\n")
    # Another condition is waited for, so this one does not matter.
    wait(tmp_path, READY, workload="ksvc/user:RoutesReady", **{"ksvc-user": found})
    assert "wait ksvc/user --for=condition=RoutesReady" in (tmp_path / "waited").read_text()


def test_what_could_not_start_before_starts_again(tmp_path: Path) -> None:
    pods = [pod("rule-1", "ImagePullBackOff"), pod("rule-2"), pod("todolist-1", "ContainerCreating")]
    assert wait(tmp_path, READY, *pods, patience=30).returncode == 0
    assert (tmp_path / "calls").read_text() == "delete pod --ignore-not-found rule-1\n"


def test_a_revision_that_was_replaced_is_no_reason(tmp_path: Path) -> None:
    of_user = {"serving.knative.dev/service": "user", "serving.knative.dev/configurationGeneration": "9"}
    pods = [
        pod("user-old", "ImagePullBackOff", **of_user),
        pod("user-new", "CrashLoopBackOff", **{**of_user, "serving.knative.dev/configurationGeneration": "10"}),
        pod("other", "CrashLoopBackOff", "another image"),
    ]
    done = wait(tmp_path, NEVER, *pods)
    assert "user-new" in done.stderr
    assert "other" in done.stderr
    assert "user-old" not in done.stderr
