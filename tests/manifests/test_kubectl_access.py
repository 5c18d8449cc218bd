"""Access to the cluster: kubectl's errors are printed, and the context does not change meanwhile."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.manifests.conftest import kubectl
from tests.manifests.stand_in import Cluster
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
    ("words", "denied", "script"),
    [
        (EXPIRED, True, "deploy"),
        (NO_PLUGIN, True, "install istio"),
        (UNAUTHORIZED, True, "status"),
        # Of the nodes of such a cluster nothing is said.
        (UNAUTHORIZED, True, "images push"),
        (REFUSED, False, "deploy"),
    ],
    ids=["expired", "no plugin", "unauthorized", "images", "nothing listens"],
)
def test_errors_of_kubectl_are_printed(words: str, denied: bool, script: str, cluster: Cluster) -> None:
    said = cluster.failure(*script.split(), DENIED=words)
    assert all(line in said for line in words.splitlines() if "memcache.go" not in line)
    assert "memcache.go" not in said
    assert ("kubectl may not talk to the cluster of context here" in said) is denied
    assert ("make cluster" in said) is not denied
    # The way out is its last line.
    assert said.splitlines()[-1].startswith("-> log in again with your cluster's own command (`aws eks") is denied
    assert cluster.changes() == []


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
    # The second time the context is named.
    for context in ("", "a"):
        environment = {**os.environ, "PATH": path, "KUBECONFIG": str(config), "CONTEXT": context}
        output = subprocess.check_output(["bash", "-c", script], cwd=ROOT, env=environment, text=True)
        assert output.split() == ["https://127.0.0.1:1", "https://127.0.0.1:1", "https://127.0.0.1:2"]
