"""What `make deploy` adds to the sets, and in which order it applies them."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.manifests.conftest import Document, container, injector, labels, load, of_kind, services
from tests.manifests.test_versions import VERSIONS
from tests.support import ROOT

FIRST_STEP = ("base", "knative/namespace.yaml", "knative/security.yaml", "knative/user-v1.yaml")


def test_images_and_namespace_are_set_everywhere(customized: list[Document]) -> None:
    assert in_namespace_other(customized)
    (todolist,) = [workload for workload in services(customized) if labels(workload)["app"] == "todolist"]
    environment = {entry["name"]: entry.get("value") for entry in container(todolist)["env"]}
    assert environment["USER_URL"] == "http://user.other.svc.cluster.local"
    assert environment["RULE_URL"] == "http://rule.other.svc.cluster.local"


def test_the_first_step_on_knative_is_in_the_same_namespace(deploy_sh: Any) -> None:
    made = deploy_sh("render", *FIRST_STEP, NAMESPACE="other", TAG="v9")
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


# A cluster with Knative: it answers the queries of deploy.sh, and records all changes.
KUBECTL = """#!/bin/sh
[ "$1" = --namespace=todolist ] && shift
case "$*" in
  "config current-context") echo here ;;
  "version --client"*) echo '{"clientVersion": {"gitVersion": "v9.9.9"}}' ;;
  "get customresourcedefinitions"*) false ;;
  "get mutatingwebhookconfigurations"*) echo "$INJECTORS" ;;
  "get --raw"* | "get crd "*) ;;
  "get namespace/todolist --ignore-not-found"*) ;;
  "get namespace/todolist --output=go"*) echo todolist ;;
  "get revision/user-v1"*image*) echo "$OLD" ;;
  "get revision/user-v2"*image*) echo "$OLD" ;;
  "get revision/"*conditions*) echo "$READY" ;;
  "get revision/"* | "get services.serving.knative.dev/"*) [ "$OLD" ] ;;
  "get deployment/"*) false ;;
  "get pods"* | "get events"*) echo '{"items": []}' ;;
  "get "*) ;;
  diff*) [ "$CHANGED" = no ] ;;
  wait*--for=create*) ;;
  *) cat >/dev/null; echo "$*" >>"$CALLS" ;;
esac
"""


def deploy_to_knative(directory: Path, **cluster: str) -> list[str]:
    """Run `make deploy TARGET=knative` against a cluster, and return its changes."""
    kubectl = directory / "kubectl"
    kubectl.write_text(KUBECTL)
    kubectl.chmod(0o755)
    env = {
        **os.environ,
        **VERSIONS,
        "PATH": f"{directory}{os.pathsep}{os.environ['PATH']}",
        "CALLS": str(directory / "calls"),
        "REGISTRY": "dev.local",
        "TAG": "new",
        "TARGET": "knative",
        "NAMESPACE": "todolist",
        # The image of its revisions and whether they are ready; whether anything differs from what it has.
        "OLD": "",
        "READY": "",
        "CHANGED": "yes",
        "INJECTORS": json.dumps({"items": [injector()]}),
        **cluster,
    }
    done = subprocess.run(
        ["deploy/scripts/deploy.sh"], cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=60,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return (directory / "calls").read_text().splitlines()


def essence(calls: list[str]) -> list[str]:
    """Return what is applied, waited for (without databases), and replaced."""
    noise = r"--kustomize=.*/|--(?:namespace|timeout|type)=\S+|services\.serving\.knative\.dev/"
    others = r"rollout|secret|networkpolicies|requestauth|create namespace"
    kept = (" ".join(re.sub(noise, "", call).split()) for call in calls)
    return [call for call in kept if not re.search(others, call)]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The changes of a first deployment to Knative."""
    return deploy_to_knative(tmp_path_factory.mktemp("first"))


def test_without_eventing_the_broker_of_an_earlier_deployment_goes(first: list[str], tmp_path: Path) -> None:
    def removed(call: str) -> bool:
        return "brokers.eventing" in call or "todolist-broker" in call

    assert not [call for call in first if removed(call)]
    calls = essence(deploy_to_knative(tmp_path, EVENTING="no"))
    # Once rule sends its events to user itself.
    last = next(index for index, call in enumerate(calls) if call.split()[-1] == "knative")
    assert [index > last for index, call in enumerate(calls) if removed(call)] == [True, True]


def test_the_first_deployment_to_knative_takes_two_steps(first: list[str]) -> None:
    assert essence(first) == [
        "apply namespace",
        "apply activator",
        "apply eventing",
        "apply first-step",
        "wait revision/user-v1 --for=condition=Ready",
        "apply knative",
        *[f"wait ksvc/{name} --for=condition=Ready" for name in ("user", "rule", "todolist")],
    ]


def test_an_upgrade_on_knative_replaces_one_revision_while_the_other_takes_all(tmp_path: Path) -> None:
    calls = essence(deploy_to_knative(tmp_path, OLD="dev.local/user:old", READY="True"))
    to = '--patch={"spec":{"traffic":[{"revisionName":"user-%s","percent":100,"tag":"%s"}]}}'
    assert calls == [
        "apply namespace",
        "apply activator",
        "apply eventing",
        "patch user " + to % ("v2", "v2"),
        "wait ksvc/user --for=condition=RoutesReady",
        "delete revision/user-v1",
        "apply first-step",
        "wait revision/user-v1 --for=condition=Ready",
        "patch user " + to % ("v1", "v1"),
        "wait ksvc/user --for=condition=RoutesReady",
        "delete revision/user-v2",
        "apply knative",
        *[f"wait ksvc/{name} --for=condition=Ready" for name in ("user", "rule", "todolist")],
    ]


def test_without_changes_nothing_is_applied(tmp_path: Path) -> None:
    calls = essence(deploy_to_knative(tmp_path, OLD="dev.local/user:new", READY="True", CHANGED="no"))
    assert [call for call in calls if not call.startswith("wait ")] == ["apply namespace"]


def test_what_a_lesson_added_goes_with_the_next_deployment(first: list[str]) -> None:
    (deleted,) = [call for call in first if "--selector=lesson" in call]
    kinds = {name.partition(".")[0] for name in deleted.split()[1].split(",")}
    applied = (file for place in ("istio", "ambient", "knative") for file in (ROOT / "lessons").rglob(f"{place}*.yaml"))
    added = {one["kind"].lower() for file in applied for one in load(file)}
    # A lesson replaces these of the set, and adds none.
    added -= {"horizontalpodautoscaler", "gateway"}
    assert {kind.removesuffix("y") + "ies" if kind.endswith("y") else f"{kind}s" for kind in added} <= kinds


@pytest.fixture
def tls_cluster(cluster: Any) -> Any:
    """A stand-in for a cluster, with the Python of `make deploy TLS=1`."""
    python = cluster.directory / ".venv/bin/python"
    if not python.exists():
        python.parent.mkdir(parents=True)
        python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        python.chmod(0o755)
    return cluster


def test_tls_makes_a_certificate_for_the_cluster_and_keeps_one_of_others(tls_cluster: Any) -> None:
    files = tls_cluster.directory / "data/tls"
    said, did = tls_cluster.run("deploy", "", TLS="1", NO_SECRET="ingress-certificate")
    assert said == ""
    assert f"--from-file=tls.crt={files}/cluster.pem" in next(call for call in did if "ingress-certificate" in call)
    names = x509.load_pem_x509_certificate((files / "cluster.pem").read_bytes()).extensions
    names = names.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)
    assert names == ["localhost", "ingress-istio.todolist.svc.cluster.local"]
    assert not [call for call in did if "delete" in call and "https-redirect" in call]
    # The stand-in has any Secret, without our label.
    said, did = tls_cluster.run("deploy", "", TLS="1")
    assert "secret/ingress-certificate is not from `make deploy`, and stays as it is" in tls_cluster.output
    assert not [call for call in did if "ingress-certificate" in call]
    # Without it, what it added goes, after the routes are for HTTP again.
    said, did = tls_cluster.run("deploy", "")
    applied = max(index for index, call in enumerate(did) if call.startswith("kubectl apply"))
    assert [index > applied for index, call in enumerate(did) if "https-redirect" in call] == [True]


def test_over_a_running_istio_set_the_refusal_names_the_lesson_that_moves_it(cluster: Any) -> None:
    said = cluster.refusal("deploy", TARGET="ambient", DEPLOYED="istio", ZTUNNEL="yes", CNI="yes")
    assert "lesson 21 moves it under load, step by step (lessons/21-ambient/README.md)" in said


def test_tls_is_not_for_knative(cluster: Any) -> None:
    assert cluster.refusal("deploy", TLS="1", TARGET="knative").startswith("TLS is for TARGET=istio and ambient")
