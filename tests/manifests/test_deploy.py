"""What `make deploy` adds to the sets: registry, tag and namespace, in every place that has them."""

import json
from typing import Any

import pytest

from tests.manifests.conftest import DEPLOY, Document, container, labels, of_kind, services


@pytest.mark.parametrize(("folder", "target"), [("istio", "istio"), ("knative/v1", "knative"), ("knative", "knative")])
def test_images_and_namespace_are_set_everywhere(folder: str, target: str, deploy_sh: Any) -> None:
    made = deploy_sh("render", folder, TARGET=target, REGISTRY="registry.example:5000/x", TAG="v9", NAMESPACE="other")
    assert {document["metadata"].get("namespace", "other") for document in made} == {"other"}
    assert [document["metadata"]["name"] for document in of_kind(made, "Namespace")] == ["other"]
    for workload in services(made):
        assert container(workload)["image"] == f"registry.example:5000/x/{labels(workload)['app']}:v9"
    for workload in of_kind(made, "StatefulSet"):
        assert container(workload)["image"].startswith("postgres:")
    (todolist,) = [workload for workload in services(made) if labels(workload)["app"] == "todolist"]
    environment = {entry["name"]: entry.get("value") for entry in container(todolist)["env"]}
    assert environment["USER_URL"] == "http://user.other.svc.cluster.local"
    assert environment["RULE_URL"] == "http://rule.other.svc.cluster.local"
    assert ".todolist." not in json.dumps(made)


def test_the_default_changes_nothing_but_the_images(deploy_sh: Any, istio: list[Document]) -> None:
    made = deploy_sh("render", "istio", TARGET="istio")
    for workload in services(made):
        workload["spec"]["template"]["spec"]["containers"][0]["image"] = labels(workload)["app"]
    assert made == istio


def test_the_activator_policy_follows_the_namespace(deploy_sh: Any) -> None:
    (policy,) = deploy_sh("render_activator", NAMESPACE="other")
    assert policy["metadata"] == {
        "name": "other",
        "namespace": "knative-serving",
        "labels": {"app.kubernetes.io/part-of": "todolist"},
    }
    text = json.dumps(policy["spec"])
    assert '["other/todolist"]' in text
    assert '["other"]' in text
    assert '"todolist"' not in text


@pytest.mark.parametrize("folder", ["base", "istio", "knative"])
def test_no_set_names_a_registry(folder: str) -> None:
    for file in (DEPLOY / folder).rglob("*.yaml"):
        assert "dev.local" not in file.read_text(), file
