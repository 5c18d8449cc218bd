"""deploy/scripts/wait.py, with a stand-in for kubectl."""

import io
import json
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import pytest

from tests.support import ROOT

# Answers `get` from files, records changes, and waits as the test configures.
KUBECTL = """#!/bin/sh
cd "$(dirname "$0")"
[ "$1" = --namespace=n ] && shift
case "$*" in
  get*) cat "$(echo "$2" | tr / -)" 2>/dev/null || true ;;
  logs*) echo "what $2 wrote" ;;
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


class Ended(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def wait(
    directory: Path,
    waiting: str,
    *pods: Any,
    workload: str = "deployment/rule",
    patience: int = 0,
    settings: dict[str, str] | None = None,
    **more: Any,
) -> Ended:
    """Wait for a workload in a cluster that has these pods and more, in this process."""
    for name, answer in {"pods": {"items": pods}, "events": {"items": []}, **more}.items():
        (directory / name).write_text(json.dumps(answer))
    kubectl = directory / "kubectl"
    kubectl.write_text(KUBECTL.replace("{waiting}", waiting))
    kubectl.chmod(0o755)
    env = {"NAMESPACE": "n", "TIMEOUT": "20", "FAILURE_TIMEOUT": str(patience)}
    env["PATH"] = f"{directory}{os.pathsep}{os.environ['PATH']}"
    said, complained = io.StringIO(), io.StringIO()
    with patch.dict(os.environ, {**env, **(settings or {})}), redirect_stdout(said), redirect_stderr(complained):
        loader = SourceFileLoader("wait", str(ROOT / "deploy/scripts/wait.py"))
        program = module_from_spec(ModuleSpec("wait", loader))
        loader.exec_module(program)
        program.INTERVAL = 0.02
        with patch.object(sys, "argv", ["wait.py", workload]):
            code = program.main()
    return Ended(code, said.getvalue(), complained.getvalue())


def test_what_is_ready_is_not_waited_for(tmp_path: Path) -> None:
    assert wait(tmp_path, READY, pod("rule-1")) == (0, "", "")
    assert (tmp_path / "waited").read_text().startswith("rollout status deployment/rule --timeout=")


def test_a_failure_ends_the_waiting_and_is_printed_once(tmp_path: Path) -> None:
    pods = [pod(f"rule-{n}", "ErrImagePull" if n % 2 else "ImagePullBackOff") for n in range(4)]
    done = wait(tmp_path, NEVER, *pods, pod("user-1", "ImagePullBackOff", "dev.local/user:1"), pod("todolist-1"))
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "deployment/rule is not ready",
        "pod/rule-0 and 3 more: ImagePullBackOff: about rule-0",
        "  | what rule-0 wrote",
        "pod/user-1: ImagePullBackOff: about user-1",
        "  | what user-1 wrote",
        "`make build push` with the same REGISTRY and TAG pushes the images",
    ]


def event(kind: str, name: str, message: str, reason: str = "Why") -> Any:
    about = {"kind": kind, "name": name}
    return {"involvedObject": about, "reason": reason, "message": message, "lastTimestamp": ""}


def test_events_are_printed(tmp_path: Path) -> None:
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
    assert done.stderr.splitlines()[3:] == [
        "event Pod/rule-2: Why: secret not found",
        "event ReplicaSet/rule: Why: exceeded quota",
    ]


def test_a_failed_condition_of_knative_ends_the_waiting(tmp_path: Path) -> None:
    condition = {"type": "Ready", "status": "False", "reason": "RevisionFailed", "message": "no such digest"}
    found = {"status": {"conditions": [condition]}}
    done = wait(tmp_path, NEVER, workload="ksvc/user", **{"ksvc-user": found})
    assert (done.returncode, done.stderr) == (1, "ksvc/user is not ready\nksvc/user: RevisionFailed: no such digest\n")
    # Another condition is waited for, so this one does not matter.
    wait(tmp_path, READY, workload="ksvc/user:RoutesReady", **{"ksvc-user": found})
    assert "wait ksvc/user --for=condition=RoutesReady" in (tmp_path / "waited").read_text()


def test_failed_pods_are_recreated(tmp_path: Path) -> None:
    pods = [pod("rule-1", "ImagePullBackOff"), pod("rule-2"), pod("todolist-1", "ContainerCreating")]
    assert wait(tmp_path, READY, *pods, patience=30).returncode == 0
    assert (tmp_path / "calls").read_text() == "delete pod --ignore-not-found rule-1\n"


def test_a_replaced_revision_is_ignored(tmp_path: Path) -> None:
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


QUOTA = (
    'pods "todolist-5d4-{}" is forbidden: exceeded quota: compute, requested: limits.cpu=1500m, used: limits.cpu={}, '
    "limited: limits.cpu=4"
)
RULES = {
    "compute": QUOTA.format("x", 3),
    "maximum cpu": 'pods "user-v1-x" is forbidden: maximum cpu usage per Container is 200m, but limit is 1',
    "restricted:latest": (
        'pods "rule-x" is forbidden: violates PodSecurity "restricted:latest": unrestricted capabilities (container '
        '"istio-init" must not include "NET_ADMIN", "NET_RAW" in securityContext.capabilities.add)'
    ),
    # Of Kyverno.
    "validate-readOnlyRootFilesystem": (
        'admission webhook "validate.kyverno.svc-fail" denied the request: \n\nresource Pod/n/rule-x was blocked '
        "due to the following policies \n\nrequire-ro-rootfs:\n  validate-readOnlyRootFilesystem: 'validation error'"
    ),
}


def refused(name: str, message: str) -> Any:
    condition = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}
    return {"metadata": {"name": name, "labels": {}}, "status": {"conditions": [condition]}}


@pytest.mark.parametrize("rule", RULES)
def test_a_rejection_of_pods_is_reported_at_once(rule: str, tmp_path: Path) -> None:
    done = wait(tmp_path, NEVER, deployments={"items": [refused("rule", RULES[rule])]})
    assert done.returncode == 1
    assert f"deployment/rule: FailedCreate: {RULES[rule][:20]}" in done.stderr
    assert rule in done.stderr


def test_a_quota_that_affects_several_is_reported_once(tmp_path: Path) -> None:
    found = [refused(f"user-v{n}", QUOTA.format(n, n)) for n in (1, 2)]
    done = wait(tmp_path, NEVER, deployments={"items": found})
    assert done.stderr.count("exceeded quota: compute") == 1
    assert "deployment/user-v1 and 1 more: FailedCreate" in done.stderr


def test_the_rejection_of_a_database_is_in_its_last_event(tmp_path: Path) -> None:
    sets = {"items": [{"metadata": {"name": "user-database"}, "status": {"replicas": 0}}]}
    workload = "statefulset/user-database"
    refusal = event("StatefulSet", "user-database", "create Pod failed: " + RULES["compute"], "FailedCreate")
    done = wait(tmp_path, NEVER, workload=workload, statefulsets=sets, events={"items": [refusal]})
    assert "statefulset/user-database: FailedCreate" in done.stderr
    over = [refusal, event("StatefulSet", "user-database", "", "SuccessfulCreate")]
    done = wait(tmp_path, READY, workload=workload, statefulsets=sets, events={"items": over})
    assert (done.returncode, done.stderr) == (0, "")


def test_the_log_of_a_container_that_is_never_ready_is_shown(tmp_path: Path) -> None:
    running = pod("rule-1")
    running["status"]["containerStatuses"][0]["ready"] = False
    done = wait(tmp_path, TOO_LATE, running, pod("todolist-1"))
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "deployment/rule is not ready",
        "pod/rule-1: app (dev.local/rule:1) runs, and is not ready. Its log:",
        "  | what rule-1 wrote",
    ]


@pytest.mark.parametrize("where", ["containers", "initContainers"])
def test_a_pod_without_its_sidecar_is_recreated_or_reported(where: str, tmp_path: Path) -> None:
    def of_set(name: str, *, sidecar: bool, **labels: str) -> Any:
        made = pod(name, **{"app.kubernetes.io/part-of": "todolist", **labels})
        made["spec"] = {"containers": [{"name": "app"}]}
        made["spec"].setdefault(where, []).extend([{"name": "istio-proxy"}] if sidecar else [])
        return made

    # The load generator simulates users outside of the mesh.
    outside = of_set("traffic-1", sidecar=False, **{"sidecar.istio.io/inject": "false"})
    pods = [of_set("rule-1", sidecar=False), of_set("rule-2", sidecar=True), outside]
    done = wait(tmp_path, NEVER, *pods, settings={"TARGET": "istio"})
    assert (tmp_path / "calls").read_text() == "delete pod --ignore-not-found rule-1\n"
    assert "pod/rule-1: it has no sidecar" in done.stderr
    assert wait(tmp_path, READY, *pods, settings={"TARGET": "ambient"}).stdout == ""


def test_a_gateway_that_no_istio_handles_is_reported(tmp_path: Path) -> None:
    def gateway(*conditions: tuple[str, str, str]) -> Any:
        found = [dict(zip(("type", "status", "reason"), condition, strict=True)) for condition in conditions]
        return {"gateways.gateway.networking.k8s.io-ingress": {"status": {"conditions": found}}}

    pending = gateway(("Accepted", "Unknown", "Pending"))
    done = wait(tmp_path, NEVER, workload="deployment/ingress-istio", **pending)
    assert "gateway/ingress: Pending" in done.stderr
    assert "istio.io/rev" in done.stderr
    without_address = gateway(("Accepted", "True", "Accepted"), ("Programmed", "False", "AddressNotUsable"))
    assert wait(tmp_path, READY, workload="deployment/ingress-istio", **without_address).returncode == 0


@pytest.mark.parametrize(
    ("image", "reason", "hint"),
    [
        ("dev.local/rule:1", "not found", "`make build push`"),
        ("docker.io/library/postgres:18-alpine", "i/o timeout", "MIRROR="),
        ("ghcr.io/you/rule:1", "401 Unauthorized", "IMAGE_PULL_SECRET="),
        ("ghcr.io/you/rule:1", "no match for platform in manifest: not found", "PLATFORMS="),
    ],
)
def test_the_hint_fits_the_image(image: str, reason: str, hint: str, tmp_path: Path) -> None:
    failed = pod("rule-1", "ErrImagePull", image)
    failed["status"]["containerStatuses"][0]["state"]["waiting"]["message"] = reason
    registry = "ghcr.io/you" if image.startswith("ghcr.io") else "dev.local"
    done = wait(tmp_path, NEVER, failed, settings={"REGISTRY": registry})
    every = ("`make build push`", "MIRROR=", "IMAGE_PULL_SECRET=", "PLATFORMS=")
    hints = [word for word in every if word in done.stderr]
    assert hints == [hint]


def test_an_invalid_number_is_one_line(tmp_path: Path) -> None:
    for name in ("TIMEOUT", "FAILURE_TIMEOUT"):
        with pytest.raises(SystemExit, match=f"{name} is 5m: it is a number of seconds, such as"):
            wait(tmp_path, READY, settings={name: "5m"})
