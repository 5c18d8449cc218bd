"""Every document is accepted by an API server: current versions, known fields, correct types."""

from collections.abc import Iterator
from copy import deepcopy
from functools import cache

import kubernetes_validate
import pytest
from jsonschema import Draft202012Validator

from tests.manifests.conftest import DEPLOY, Document, kind, load, name_of
from tests.manifests.test_versions import VERSIONS
from tests.support import ROOT

# `make test` downloads these Go modules.
CRDS = (
    ROOT / f".venv/go/istio.io/api@v{VERSIONS['ISTIO_VERSION']}/kubernetes",
    ROOT / f".venv/go/sigs.k8s.io/gateway-api@v{VERSIONS['GATEWAY_API_VERSION']}/config/crd/standard",
)
OTHER_GROUPS = ("argoproj.io/", "eventing.knative.dev/", "flagger.app/", "kustomize.config.k8s.io/")
# What a Knative Service's template has beside the fields of a pod.
KNATIVE_FIELDS = {"containerConcurrency", "timeoutSeconds"}


@cache
def custom_kinds() -> dict[tuple[str, str], Draft202012Validator]:
    """Return the validators of the kinds of Istio and the Gateway API, by apiVersion and kind."""
    if not all(folder.is_dir() for folder in CRDS):
        pytest.skip("the CRDs of Istio and the Gateway API are missing: `make test` could not download them")
    crds = [crd for folder in CRDS for file in folder.glob("*.yaml") for crd in load(file) if "versions" in crd["spec"]]
    validators = {}
    for spec in (crd["spec"] for crd in crds):
        for version in spec["versions"]:
            schema = version["schema"]["openAPIV3Schema"]
            schema["properties"] |= {"apiVersion": {}, "kind": {}, "metadata": {}}
            refuse_unknown_fields(schema)
            validator = Draft202012Validator(schema)
            validators[f"{spec['group']}/{version['name']}", spec["names"]["kind"]] = validator
    return validators


def refuse_unknown_fields(schema: Document) -> None:
    """Make the schema as strict as `kubectl apply` is."""
    fields = schema.get("properties", {})
    if fields and not schema.get("x-kubernetes-preserve-unknown-fields"):
        schema.setdefault("additionalProperties", False)
    for below in (*fields.values(), schema.get("items"), schema.get("additionalProperties")):
        if isinstance(below, dict):
            refuse_unknown_fields(below)


def as_deployment(service: Document) -> Document:
    """Return a Knative Service as a Deployment with the same pods."""
    template = deepcopy(service["spec"]["template"])
    assert set(service["spec"]) <= {"template", "traffic"}
    for field in KNATIVE_FIELDS:
        template["spec"].pop(field, None)
    template["metadata"].pop("name", None)
    selector = {"matchLabels": template["metadata"]["labels"]}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"selector": selector, "template": template}}


def faults(document: Document) -> Iterator[str]:
    if document["apiVersion"].startswith(OTHER_GROUPS):
        return
    if custom := custom_kinds().get((document["apiVersion"], document["kind"])):
        yield from (f"{error.json_path}: {error.message}" for error in custom.iter_errors(document))
        return
    if kind(document) == "KService":
        if "spec" not in document["spec"].get("template", {}):
            # What a lesson merges into one that is there (`kubectl patch --type=merge`).
            return
        document = as_deployment(document)
    try:
        kubernetes_validate.validate(document, VERSIONS["KUBERNETES_NEWEST"], strict=True)
    except kubernetes_validate.ValidationError as error:
        yield f"{'.'.join(map(str, error.path))}: {error.message}"
    except (kubernetes_validate.SchemaNotFoundError, kubernetes_validate.InvalidSchemaError):
        yield f"no such kind: {document['apiVersion']} {document['kind']}"


def test_only_known_fields_are_applied(customized: list[Document], beside: list[Document]) -> None:
    """The sets with all settings, and so also without."""
    assert {name_of(each): found for each in (*customized, *beside) if (found := list(faults(each)))} == {}


def test_options_lessons_and_riddles_apply_only_known_fields() -> None:
    documents = [
        (str(file.relative_to(ROOT)), document)
        for folder in (DEPLOY / "options", ROOT / "lessons", ROOT / "riddles")
        for file in folder.rglob("*.yaml")
        if not file.name.startswith("envoy") and file.parent.name != "runner"
        for document in load(file)
    ]
    assert [(file, found) for file, each in documents if (found := list(faults(each)))] == []
