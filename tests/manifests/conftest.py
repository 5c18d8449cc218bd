"""The manifests as rendered by `kubectl kustomize`, without a cluster."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import ROOT

DEPLOY = ROOT / "deploy"
# PyYAML's parser in C is ten times as fast.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Document = dict[str, Any]


def kubectl() -> str:
    """Return the path of kubectl, which may be a package in the environment of this Python."""
    found = shutil.which("kubectl", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if not found:
        pytest.fail("kubectl is missing: see https://kubernetes.io/docs/tasks/tools/")
    return found


def render(folder: Path) -> list[Document]:
    done = subprocess.run([kubectl(), "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.load_all(done.stdout, LOADER) if document]


def load(file: Path) -> list[Document]:
    return list(yaml.load_all(file.read_text(encoding="utf-8"), LOADER))


@pytest.fixture(scope="session")
def istio() -> list[Document]:
    return render(DEPLOY / "istio")


@pytest.fixture(scope="session")
def ambient() -> list[Document]:
    return render(DEPLOY / "ambient")


@pytest.fixture(scope="session")
def knative() -> list[Document]:
    return render(DEPLOY / "knative")


@pytest.fixture(scope="session")
def beside() -> list[Document]:
    """What is applied beside the sets: the first version of user on Knative, policies, and the load generator."""
    files = ("knative/user-v1", "knative/activator", "knative/eventing", "install/eventing")
    return [*render(DEPLOY / "traffic"), *(each for file in files for each in load(DEPLOY / f"{file}.yaml"))]


@pytest.fixture(params=["istio", "ambient", "knative"])
def app(request: pytest.FixtureRequest) -> list[Document]:
    """Each set of the application in turn."""
    documents: list[Document] = request.getfixturevalue(request.param)
    return documents


# Everything of deploy/scripts/render.sh that changes many objects, at once.
CUSTOMIZED = {
    "NAMESPACE": "other", "REGISTRY": "registry.example:5000/x", "TAG": "v9", "MIRROR": "mirror.example:5000/hub",
    "IMAGE_PULL_SECRET": "mine", "INGRESS_SERVICE": "ClusterIP", "NETWORK_POLICIES": "1",
}  # fmt: skip


@pytest.fixture(params=["istio", "ambient", "knative"])
def customized(request: pytest.FixtureRequest, deploy_sh: Any) -> list[Document]:
    """Each set in turn, with all settings of CUSTOMIZED."""
    documents: list[Document] = deploy_sh("render", request.param, **CUSTOMIZED)
    return documents


@pytest.fixture(scope="session")
def deploy_sh() -> Iterator[Any]:
    """Run a function of deploy/scripts/render.sh, and return what the kustomization that it wrote renders."""
    made: list[Path] = []

    @cache
    def run(function: str, *parts: str, **environment: str) -> list[Document]:
        name = f"test-{os.getpid()}-{len(made)}"
        done = subprocess.run(
            ["bash", "-c", '. deploy/scripts/render.sh; "$@"; echo "$build/deploy/"', "-", function, name, *parts],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
            env={**os.environ, "REGISTRY": "dev.local", "TAG": "abc", "NAMESPACE": "todolist", **environment},
        )
        assert done.returncode == 0, done.stderr
        made.append(Path(done.stdout.strip()) / name)
        return render(made[-1])

    # A copy: tests change what they get.
    yield lambda *parts, **environment: deepcopy(run(*parts, **environment))
    for folder in made:
        shutil.rmtree(folder)


def injector(revision: str = "default", namespace: str = "istio-system", tag: str = "", owner: str = "") -> Document:
    """Return the webhook configuration for sidecar injection, as in Istio's chart.

    tag: one of a revision's tags, which is a configuration of its own; owner: the Helm release that it belongs to.
    """
    named_so = tag or revision
    hooks = [{"key": "istio.io/rev", "operator": "In", "values": [named_so]}]
    selectors = [[*hooks, {"key": "istio-injection", "operator": "DoesNotExist"}]]
    if named_so == "default":
        selectors.append([{"key": "istio-injection", "operator": "In", "values": ["enabled"]}])
    service = {"name": "istiod" if revision == "default" else f"istiod-{revision}", "namespace": namespace}
    no_opt_out = [{"key": "sidecar.istio.io/inject", "operator": "NotIn", "values": ["false"]}]
    marks = {"app": "sidecar-injector", "istio.io/rev": revision, **({"istio.io/tag": tag} if tag else {})}
    annotations = {"meta.helm.sh/release-name": owner} if owner else {}
    return {
        "metadata": {"name": f"istio-{named_so}", "labels": marks, "annotations": annotations},
        "webhooks": [
            {
                "clientConfig": {"service": service} if namespace else {"url": "https://elsewhere.example/inject"},
                "namespaceSelector": {"matchExpressions": selector},
                "objectSelector": {"matchExpressions": no_opt_out},
            }
            for selector in selectors
        ],
    }


def istiod(version: str, revision: str = "default", namespace: str = "istio-system", owner: str = "") -> Document:
    """Return istiod's Deployment; version: the tag of its image; owner: its Helm release."""
    marks = {"app": "istiod", "istio.io/rev": revision}
    if not owner:
        marks["operator.istio.io/managed"] = "Reconcile"
        # As `make install-istio` makes it.
        if (revision, namespace) == ("default", "istio-system"):
            marks["installed-by"] = "todolist"
    annotations = {"meta.helm.sh/release-name": owner} if owner else {}
    pod = {"spec": {"containers": [{"name": "discovery", "image": f"docker.io/istio/pilot:{version}"}]}}
    metadata = {"name": "istiod", "namespace": namespace, "labels": marks, "annotations": annotations}
    return {"metadata": metadata, "spec": {"template": pod}}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from tests.manifests.stand_in import Cluster

    return Cluster(tmp_path_factory.mktemp("cluster"))


def of_kind(documents: list[Document], *kinds: str) -> list[Document]:
    """Return the documents of these kinds; KService is Knative's Service, which shares its name."""
    return [document for document in documents if kind(document) in kinds]


def kind(document: Document) -> str:
    """Return the kind, with Knative's Service called KService."""
    if document["apiVersion"].startswith("serving.knative.dev/"):
        return f"K{document['kind']}"
    return str(document["kind"])


def named(documents: list[Document], wanted: str, name: str) -> Document:
    (found,) = [document for document in of_kind(documents, wanted) if document["metadata"]["name"] == name]
    return found


def below(value: Any, key: str) -> Iterator[Any]:
    """Yield the values of a key at any depth."""
    if isinstance(value, dict):
        if key in value:
            yield value[key]
        for inner in value.values():
            yield from below(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from below(inner, key)


def workloads(documents: list[Document]) -> list[Document]:
    """Return everything that has a pod template."""
    return of_kind(documents, "Deployment", "StatefulSet", "KService")


def services(documents: list[Document]) -> list[Document]:
    """Return the workloads that are our own, without databases and load generator."""
    return [w for w in workloads(documents) if w["kind"] != "StatefulSet" and labels(w)["app"] != "traffic"]


def labels(workload: Document) -> dict[str, str]:
    found: dict[str, str] = workload["spec"]["template"]["metadata"]["labels"]
    return found


def container(workload: Document) -> Document:
    (found,) = workload["spec"]["template"]["spec"]["containers"]
    return dict(found)


def name_of(document: Document) -> str:
    return f"{kind(document)}/{document['metadata']['name']}"
