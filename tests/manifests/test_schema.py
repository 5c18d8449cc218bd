"""Every document is what an API server accepts: current versions, known fields, right types."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from services.todolist.session import COOKIE, KEYS_PATH
from services.user.settings import Settings
from tests.manifests.conftest import DEPLOY, Document, name_of, of_kind, render
from tests.manifests.fields import KNOWN


def paths(value: Any, known: set[str], path: str = "") -> Iterator[str]:
    """Yield the path of each leaf, with lists left out and free keys (labels, annotations) as a star."""
    if isinstance(value, dict) and f"{path}.*" in known:
        yield f"{path}.*"
    elif isinstance(value, dict):
        for key, below in value.items():
            if path or key not in {"apiVersion", "kind", "metadata"}:
                yield from paths(below, known, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list):
        for below in value:
            yield from paths(below, known, path)
    else:
        yield path


def faults(document: Document) -> Iterator[str]:
    """Yield what is wrong with the document."""
    key = document["apiVersion"], document["kind"]
    if key in KNOWN:
        yield from sorted(set(paths(document, KNOWN[key])) - KNOWN[key])
        return
    try:
        kubernetes_validate.validate(document, "1.36", strict=True)
    except kubernetes_validate.ValidationError as error:
        yield f"{'.'.join(map(str, error.path))}: {error.message}"
    except (kubernetes_validate.SchemaNotFoundError, kubernetes_validate.InvalidSchemaError):
        yield f"no such kind: {key}"


def test_each_document_has_only_known_fields(manifests: list[Document]) -> None:
    assert manifests
    assert {name_of(document): found for document in manifests if (found := list(faults(document)))} == {}


@pytest.mark.parametrize(
    "document",
    [
        {"apiVersion": "networking.istio.io/v1beta1", "kind": "VirtualService", "metadata": {"name": "x"}},
        {"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication", "spec": {"mtls": {"mod": "STRICT"}}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "x"}, "automount": False},
        {"apiVersion": "policy/v1beta1", "kind": "PodDisruptionBudget", "metadata": {"name": "x"}},
    ],
    ids=lambda document: f"{document['apiVersion']}/{document['kind']}",
)
def test_the_check_finds_a_fault(document: Document) -> None:
    assert list(faults(document))


@pytest.mark.parametrize("target", ["istio", "knative"])
def test_network_policies_can_be_added(target: str, deploy_sh: Any) -> None:
    documents = deploy_sh("render", target, TARGET=target, NETWORK_POLICIES="1")
    assert {name_of(document): found for document in documents if (found := list(faults(document)))} == {}
    assert any(document["kind"] == "NetworkPolicy" for document in documents)


def test_request_authentication_checks_the_tokens_that_user_makes(deploy_sh: Any) -> None:
    documents = deploy_sh("render", "istio", TARGET="istio", NAMESPACE="other", REQUEST_AUTHENTICATION="1")
    assert {name_of(document): found for document in documents if (found := list(faults(document)))} == {}
    (added,) = of_kind(documents, "RequestAuthentication")
    assert added["metadata"]["labels"]["app.kubernetes.io/part-of"] == "todolist"
    (rule,) = added["spec"]["jwtRules"]
    assert rule["issuer"] == Settings.model_fields["token_issuer"].default
    assert rule["audiences"] == [Settings.model_fields["token_audience"].default]
    assert rule["fromCookies"] == [COOKIE]
    assert rule["jwksUri"] == f"http://user.other.svc.cluster.local{KEYS_PATH}"


SETS = [f.parent for f in sorted(DEPLOY.rglob("kustomization.yaml")) if "kind: Component" not in f.read_text()]


@pytest.mark.parametrize("folder", SETS, ids=lambda folder: str(folder.relative_to(DEPLOY)))
def test_every_kustomization_renders(folder: Path) -> None:
    assert render(folder)
