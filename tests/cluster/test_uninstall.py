"""Everything that was installed can be removed.

It needs a cluster of its own, without Istio, and the images in it: make build push, then
UNINSTALL=1 .venv/bin/pytest --numprocesses=0 tests/cluster/test_uninstall.py
"""

import os
import subprocess

import pytest

from tests.cluster.conftest import eventually, exists, kubectl
from tests.support import ROOT

# What comes and goes by itself.
UNSTEADY = ("events", "events.events.k8s.io", "leases.coordination.k8s.io", "componentstatuses")
OBJECT = '{{range .items}}{{.kind}} {{.metadata.namespace}}/{{.metadata.name}}{{"\\n"}}{{end}}'


@pytest.fixture(scope="session", autouse=True)
def deployed() -> None:
    """Skip where something is installed already, instead of where nothing is."""
    if exists("namespace/istio-system"):
        pytest.skip("this cluster has Istio already, and may be somebody's")


def objects() -> set[str]:
    kinds = kubectl("api-resources", "--verbs=list", "--output=name").split()
    wanted = [kind for kind in kinds if kind not in UNSTEADY and not kind.endswith(".metrics.k8s.io")]
    return set(kubectl("get", ",".join(wanted), "--all-namespaces", f"--output=go-template={OBJECT}").splitlines())


def make(*arguments: str) -> str:
    """Run a make target; return its error, or ""."""
    done = subprocess.run(["make", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stderr if done.returncode else ""


@pytest.mark.timeout(3600)
def test_uninstalling_removes_everything() -> None:
    namespace = os.environ.get("NAMESPACE", "todolist")
    before = objects()
    assert make("install-istio", "MODE=ambient") == ""
    assert make("install-kiali") == ""
    for target in ("istio", "ambient"):
        assert make("deploy", f"TARGET={target}") == ""
        assert f"in: {namespace}" in make("uninstall-istio")
        assert make("undeploy", "VOLUMES=delete") == ""
    assert "uninstall-kiali" in make("uninstall-istio")

    assert make("install-knative") == ""
    assert make("deploy", "TARGET=knative") == ""
    assert f"in: {namespace}" in make("uninstall-knative")
    assert make("undeploy", "VOLUMES=delete") == ""
    assert "uninstall-knative" in make("uninstall-istio")

    for target in ("uninstall-knative", "uninstall-kiali", "uninstall-istio"):
        assert make(target) == ""
    # A volume goes after the claim to it.
    eventually(lambda: objects() <= before)
    assert before <= objects()
