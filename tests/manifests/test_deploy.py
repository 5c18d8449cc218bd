"""What `make deploy` adds to the sets, and in which order it applies them."""

import json
import re
from typing import Any

import pytest
from cryptography import x509

from tests.manifests.conftest import Document, container, labels, load, of_kind, services
from tests.manifests.stand_in import Cluster
from tests.support import ROOT


def test_images_and_namespace_are_set_everywhere(customized: list[Document]) -> None:
    assert in_namespace_other(customized)
    (todolist,) = [workload for workload in services(customized) if labels(workload)["app"] == "todolist"]
    environment = {entry["name"]: entry.get("value") for entry in container(todolist)["env"]}
    assert environment["USER_URL"] == "http://user.other.svc.cluster.local"
    assert environment["RULE_URL"] == "http://rule.other.svc.cluster.local"


def test_the_first_step_on_knative_is_in_the_same_namespace(deploy_sh: Any) -> None:
    first_step = ("base", *(f"knative/{name}.yaml" for name in ("namespace", "security", "user-v1")))
    made = deploy_sh("render", *first_step, NAMESPACE="other", TAG="v9")
    assert in_namespace_other(made)
    assert [container(workload)["image"] for workload in services(made)] == ["dev.local/user:v9"]


def in_namespace_other(made: list[Document]) -> bool:
    assert {document["metadata"].get("namespace", "other") for document in made} == {"other"}
    assert [document["metadata"]["name"] for document in of_kind(made, "Namespace")] == ["other"]
    return ".todolist." not in json.dumps(made)


def test_the_default_changes_nothing_but_the_images(deploy_sh: Any, istio: list[Document]) -> None:
    made = deploy_sh("render", "istio")
    for workload in services(made):
        workload["spec"]["template"]["spec"]["containers"][0]["image"] = labels(workload)["app"]
    assert made == istio


def test_the_policies_on_knatives_own_parts_follow_the_namespace(deploy_sh: Any) -> None:
    """Its activator and its broker accept calls and events of this namespace only from whom the set allows."""
    (activator,) = deploy_sh("render_activator", NAMESPACE="other")
    eventing = deploy_sh("render_eventing", NAMESPACE="other")
    assert (activator["metadata"]["name"], activator["metadata"]["namespace"]) == ("other", "knative-serving")
    assert {(each["metadata"]["name"], each["metadata"]["namespace"]) for each in eventing} == {
        (f"other-{part}", "knative-eventing") for part in ("broker", "channel", "trigger")
    }
    for policy in (activator, *eventing):
        assert policy["metadata"]["labels"] == {"app.kubernetes.io/part-of": "todolist"}
        text = json.dumps(policy["spec"])
        assert "other" in text
        assert "todolist" not in text.replace("other/todolist", "")
    # Each of Eventing's three parts accepts events only from the previous one.
    assert [policy["spec"]["rules"][0]["from"][0]["source"]["notServiceAccounts"] for policy in eventing] == [
        ["other/rule", "knative-eventing/mt-broker-filter"],
        ["knative-eventing/mt-broker-ingress"],
        ["knative-eventing/imc-dispatcher"],
    ]


def test_an_option_is_1_or_unset(deploy_sh: Any) -> None:
    for option in ("NETWORK_POLICIES", "REQUEST_AUTHENTICATION", "KEEP_NAMESPACE"):
        with pytest.raises(AssertionError, match=f"{option} is 0: it can be 1 or unset"):
            deploy_sh("render", "istio", **{option: "0"})


def deploy_to_knative(cluster: Cluster, **state: str) -> list[str]:
    """Return what is applied, waited for (without databases), and replaced."""
    did = cluster.run("deploy", TARGET="knative", TAG="new", **state)
    noise = r"kubectl |--kustomize=.*/|--(?:namespace|timeout|type)=\S+|services\.serving\.knative\.dev/"
    others = r"rollout|secret|networkpolicies|requestauth|create namespace"
    kept = (" ".join(re.sub(noise, "", call).split()) for call in did)
    return [call for call in kept if not re.search(others, call)]


READY = [f"wait ksvc/{name} --for=condition=Ready" for name in ("user", "rule", "todolist")]


def test_the_first_deployment_to_knative_takes_two_steps(cluster: Cluster) -> None:
    assert deploy_to_knative(cluster) == [
        "apply namespace",
        "apply activator",
        "apply eventing",
        "apply first-step",
        "wait revision/user-v1 --for=condition=Ready",
        "apply knative",
        *READY,
    ]


def test_an_upgrade_on_knative_replaces_one_revision_while_the_other_takes_all(cluster: Cluster) -> None:
    """Without Eventing, so that the broker of an earlier deployment goes, once rule sends its events to user itself."""
    old = {"DEPLOYED": "knative", "OLD": "dev.local/user:old", "READY": "True"}
    *calls, broker, policies = deploy_to_knative(cluster, EVENTING="no", **old)
    to = '--patch={"spec":{"traffic":[{"revisionName":"user-%s","percent":100,"tag":"%s"}]}}'
    assert calls == [
        "apply namespace",
        "apply activator",
        "patch user " + to % ("v2", "v2"),
        "wait ksvc/user --for=condition=RoutesReady",
        "delete revision/user-v1",
        "apply first-step",
        "wait revision/user-v1 --for=condition=Ready",
        "patch user " + to % ("v1", "v1"),
        "wait ksvc/user --for=condition=RoutesReady",
        "delete revision/user-v2",
        "apply knative",
        *READY,
    ]
    assert broker.startswith("delete triggers.eventing.knative.dev,brokers.eventing.knative.dev ")
    assert policies.startswith("delete authorizationpolicies.security.istio.io todolist-broker ")


def test_without_changes_nothing_is_applied_and_what_a_lesson_added_goes(cluster: Cluster) -> None:
    new = {"DEPLOYED": "knative", "OLD": "dev.local/user:new", "READY": "True"}
    assert deploy_to_knative(cluster, UNCHANGED="yes", **new) == ["apply namespace", *READY]
    (deleted,) = [call for call in cluster.changes() if "--selector=lesson" in call]
    kinds = {name.partition(".")[0] for name in deleted.split()[2].split(",")}
    applied = (file for place in ("istio", "ambient", "knative") for file in (ROOT / "lessons").rglob(f"{place}*.yaml"))
    added = {one["kind"].lower() for file in applied for one in load(file)}
    # A lesson replaces these of the set, and adds none.
    added -= {"horizontalpodautoscaler", "gateway"}
    assert {kind.removesuffix("y") + "ies" if kind.endswith("y") else f"{kind}s" for kind in added} <= kinds


def test_tls_makes_a_certificate_for_the_cluster_and_keeps_one_of_others(cluster: Cluster) -> None:
    files = cluster.directory / "data/tls"
    did = cluster.run("deploy", TLS="1", NO_SECRET="ingress-certificate")
    assert f"--from-file=tls.crt={files}/cluster.pem" in next(call for call in did if "ingress-certificate" in call)
    names = x509.load_pem_x509_certificate((files / "cluster.pem").read_bytes()).extensions
    names = names.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)
    assert names == ["localhost", "ingress-istio.todolist.svc.cluster.local"]
    assert not [call for call in did if "delete" in call and "https-redirect" in call]
    # The stand-in has any Secret, without our label.
    did = cluster.run("deploy", TLS="1")
    assert "secret/ingress-certificate is not from `make deploy`, and stays as it is" in cluster.output
    assert not [call for call in did if "ingress-certificate" in call]


def test_what_an_option_added_goes_without_it(cluster: Cluster) -> None:
    did = cluster.run("deploy")
    for added in ("networkpolicies ", "requestauthentications.security.istio.io/todolist", "/refused-session"):
        assert any(call.startswith("kubectl delete") and added in call for call in did)
    # What TLS added, after the routes are for HTTP again.
    applied = max(index for index, call in enumerate(did) if call.startswith("kubectl apply"))
    assert [index > applied for index, call in enumerate(did) if "https-redirect" in call] == [True]
