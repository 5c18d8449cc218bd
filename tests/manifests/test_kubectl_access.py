"""Access to the cluster: kubectl's errors are printed, and the context does not change meanwhile."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.manifests.conftest import kubectl
from tests.manifests.stand_in import OLDEST, Cluster, minor
from tests.manifests.test_versions import VERSIONS
from tests.support import ROOT

# kubectl's errors: EKS without a session, GKE without its plugin, an invalid token, and no server.
EXPIRED = """E1127 10:00:00.000000    4711 memcache.go:265] "Unhandled Error" err="couldn't get the list"
Error when retrieving token from sso: Token has expired and refresh failed
Unable to connect to the server: getting credentials: exec: executable aws failed with exit code 255"""
NO_PLUGIN = """Unable to connect to the server: getting credentials: exec: executable gke-gcloud-auth-plugin not found

It looks like you are trying to use a client-go credential plugin that is not installed."""
UNAUTHORIZED = "error: You must be logged in to the server (Unauthorized)"
REFUSED = "The connection to the server localhost:8080 was refused - did you specify the right host or port?"


@pytest.mark.parametrize(
    ("words", "its_own", "denied", "script"),
    [
        (EXPIRED, "Token has expired and refresh failed", True, "deploy"),
        (NO_PLUGIN, "executable gke-gcloud-auth-plugin not found", True, "install"),
        (UNAUTHORIZED, "You must be logged in", True, "status"),
        (REFUSED, "The connection to the server localhost:8080 was refused", False, "deploy"),
    ],
    ids=["expired", "no plugin", "unauthorized", "nothing listens"],
)
def test_errors_of_kubectl_are_printed(words: str, its_own: str, denied: bool, script: str, cluster: Cluster) -> None:
    said, did = cluster.run(script, "istio", DENIED=words)
    assert its_own in said
    assert "memcache.go" not in said
    assert ("kubectl may not talk to the cluster of context here" in said) is denied
    assert ("make cluster" in said) is not denied
    # The way out is its last line.
    assert said.splitlines()[-1].startswith("-> log in again with your cluster's own command (`aws eks") is denied
    assert did == []


def test_nothing_is_said_of_the_nodes_of_a_cluster_that_does_not_answer(cluster: Cluster) -> None:
    assert "may not list the nodes of here" in cluster.refusal("images", "push")
    said, did = cluster.run("images", "push", DENIED=UNAUTHORIZED)
    assert ("may not talk" in said, did) == (True, [])


def test_an_old_kubectl_is_one_line(cluster: Cluster) -> None:
    oldest = VERSIONS["KUBECTL_OLDEST"]
    said = cluster.refusal("deploy", CLIENT=minor(oldest, -1))
    assert said.startswith(f"kubectl is v{minor(oldest, -1)}, and {oldest} is the oldest that works")


def test_a_context_switch_meanwhile_has_no_effect(tmp_path: Path) -> None:
    config = tmp_path / "config"
    clusters = "".join(
        f"- {{name: {name}, cluster: {{server: 'https://127.0.0.1:{port}'}}}}\n" for name, port in (("a", 1), ("b", 2))
    )
    contexts = "".join(f"- {{name: {name}, context: {{cluster: {name}, user: ''}}}}\n" for name in "ab")
    config.write_text(f"apiVersion: v1\nkind: Config\ncurrent-context: a\nclusters:\n{clusters}contexts:\n{contexts}")
    switch = f"KUBECONFIG={config} kubectl config use-context b >/dev/null"
    shown = "kubectl config view --minify --output=jsonpath='{.clusters[0].cluster.server} '"
    script = f". deploy/scripts/lib.sh; pin_context; {shown}; {switch}; {shown}; echo; KUBECONFIG={config} {shown}"
    path = f"{Path(kubectl()).parent}{os.pathsep}{os.environ['PATH']}"

    def run(**settings: str) -> list[str]:
        environment = {**os.environ, "PATH": path, "KUBECONFIG": str(config), **settings}
        done = subprocess.run(
            ["bash", "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout.split()

    assert run() == ["https://127.0.0.1:1", "https://127.0.0.1:1", "https://127.0.0.1:2"]
    # And one can be named.
    assert run(CONTEXT="a")[:2] == ["https://127.0.0.1:1", "https://127.0.0.1:1"]


def test_an_old_kind_is_rejected_before_it_creates_a_cluster(cluster: Cluster) -> None:
    oldest = VERSIONS["KIND_OLDEST"]
    said = cluster.refusal("cluster", "create", KIND=f"kind v{minor(oldest, -3)} go1.22 linux/amd64")
    assert f"kind is {minor(oldest, -3)}" in said
    # The cluster is there, from earlier.
    old = {"KUBERNETES": minor(OLDEST, -1), "CONTEXT_NAME": "kind-todolist"}
    for script, action in (("cluster", "create"), ("deploy", "")):
        said, _ = cluster.run(script, action, KIND=f"kind v{oldest}.0 go1.24 linux/amd64", **old)
        assert said.strip().endswith("`make cluster-delete cluster` makes a newer one")


def test_an_invalid_setting_is_one_line_before_any_change(cluster: Cluster) -> None:
    for script, action, setting, bad in (
        ("deploy", "", "TIMEOUT", "5m"),
        ("url", "", "PORT", "http"),
        ("undeploy", "", "VOLUMES", "yes"),
        ("traffic", "start", "RATE", "2/s"),
        ("install", "istio", "MODE", "sidecar"),
        ("install", "knative", "EVENTING", "yes"),
    ):
        said = cluster.refusal(script, action, DEPLOYED="istio", **{setting: bad})
        assert said.startswith(f"{setting} is {bad}: it ")
