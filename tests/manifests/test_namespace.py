"""The rules of a namespace: its quota, Pod Security, and one created by an administrator."""

import json
from typing import Any
from unittest.mock import Mock

import pytest
import yaml

from lessons.runner.stranger import Stranger
from tests.manifests.conftest import DEPLOY, Document, injector, kind, load, name_of, named, of_kind, workloads
from tests.manifests.stand_in import Cluster, items
from tests.support import ROOT

ENFORCE = "pod-security.kubernetes.io/enforce"


def namespace(**labels: str) -> str:
    return json.dumps({"metadata": {"name": "todolist", "labels": labels}, "status": {"phase": "Active"}})


OURS = {"app.kubernetes.io/part-of": "todolist"}


def problem(cluster: Cluster, target: str = "istio", **state: str) -> str:
    """Return what keeps `make deploy` from this namespace; test_install.py shows that it does."""
    return cluster.ask("namespace", "todolist", target, **state)[1]


def test_a_namespace_of_an_administrator_can_be_used(cluster: Cluster) -> None:
    # Its administrator has to put it into the mesh.
    kept = {"NAMESPACE_THERE": namespace(team="shop"), "KEEP_NAMESPACE": "1"}
    assert "kubectl label namespace todolist istio-injection=enabled" in problem(cluster, **kept)
    canary = items(injector("canary"))
    assert "kubectl label namespace todolist istio.io/rev=canary" in problem(cluster, **kept, INJECTORS=canary)
    in_mesh = namespace(team="shop", **{"istio-injection": "enabled"})
    did = cluster.run("deploy", NAMESPACE_THERE=in_mesh, KEEP_NAMESPACE="1")
    assert not any("deploy/namespace" in call for call in did)


def test_a_kept_namespace_is_not_applied(app: list[Document], deploy_sh: Any, request: Any) -> None:
    made = deploy_sh("render", request.node.callspec.params["app"], NAMESPACE="other", KEEP_NAMESPACE="1")
    assert {document["metadata"]["namespace"] for document in made} == {"other"}
    assert [kind(one) for one in made] == [kind(one) for one in app if one["kind"] != "Namespace"]


def test_undeploy_keeps_the_namespace_of_an_administrator(cluster: Cluster) -> None:
    did = cluster.run("undeploy", DEPLOYED="istio", VOLUMES="delete", PART_OF="")
    assert not any("delete namespace" in call for call in did)
    assert any("--selector=app.kubernetes.io/part-of=todolist" in call for call in did)
    assert "it stays" in cluster.refusal("undeploy", PART_OF="", KINDS="istio")


def test_pod_security_without_the_cni_plugin_is_reported(cluster: Cluster) -> None:
    for level in ("baseline", "restricted"):
        there = namespace(**OURS, **{ENFORCE: level})
        said = problem(cluster, NAMESPACE_THERE=there)
        assert f"Pod Security {level}" in said
        assert "MODE=cni" in said
        assert problem(cluster, NAMESPACE_THERE=there, CNI="daemonset.apps/istio-cni-node") == ""
        assert problem(cluster, "ambient", NAMESPACE_THERE=there) == ""


# What Istio's injector puts into a pod where its CNI plugin is, as far as Pod Security looks; it has no seccompProfile.
RESTRICTED_PROXY = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "runAsUser": 1337,
}
VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}


def test_a_quota_without_load_balancers_is_reported_with_the_setting(cluster: Cluster) -> None:
    there = namespace(**OURS)
    for counted in ("services.loadbalancers", "services.nodeports"):
        quotas = items({"metadata": {"name": "tight"}, "status": {"hard": {counted: "0"}}})
        said = problem(cluster, NAMESPACE_THERE=there, QUOTAS=quotas)
        assert f"quota tight allows 0 {counted}" in said
        assert "INGRESS_SERVICE=ClusterIP" in said
        assert problem(cluster, NAMESPACE_THERE=there, QUOTAS=quotas, INGRESS_SERVICE="ClusterIP") == ""


def test_the_type_of_the_ingress_can_be_chosen(customized: list[Document]) -> None:
    """Istio makes the Service, of the type that the Gateway's annotation names."""
    for gateway in of_kind(customized, "Gateway"):
        if gateway["metadata"]["name"] == "ingress":
            assert gateway["metadata"]["annotations"]["networking.istio.io/service-type"] == "ClusterIP"


def offences(pod: Any) -> list[str]:
    """Return the violations of Pod Security `restricted` by a pod (Kubernetes, "Pod Security Standards")."""
    found = []
    outer = pod.get("securityContext", {})
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        inner = container.get("securityContext", {})
        capabilities = inner.get("capabilities", {})
        profile = inner.get("seccompProfile", outer.get("seccompProfile", {})).get("type")
        checks = {
            "allowPrivilegeEscalation": inner.get("allowPrivilegeEscalation") is False,
            "capabilities": capabilities.get("drop") == ["ALL"] and not capabilities.get("add"),
            "runAsNonRoot": inner.get("runAsNonRoot", outer.get("runAsNonRoot")) is True,
            "runAsUser": inner.get("runAsUser", outer.get("runAsUser", 1)) != 0,
            "seccompProfile": profile in {"RuntimeDefault", "Localhost"},
            "privileged": not inner.get("privileged"),
            "hostPort": not any("hostPort" in port for port in container.get("ports", [])),
        }
        found += [f"{container['name']}: {name}" for name, passed in checks.items() if not passed]
    found += [volume["name"] for volume in pod.get("volumes", []) if not set(volume) - {"name"} <= VOLUMES]
    return found + [name for name in ("hostNetwork", "hostPID", "hostIPC") if pod.get(name)]


@pytest.mark.parametrize("target", ["istio", "ambient", "knative", "beside"])
def test_every_pod_passes_restricted_with_its_sidecar_as_another_user(
    target: str, request: pytest.FixtureRequest
) -> None:
    # On Knative a pod has no context of its own, and the sidecar gets its profile from what Istio is installed with.
    install = yaml.safe_load((DEPLOY / "install/istio.yaml").read_text())["spec"]["values"]["global"]["proxy"]
    proxy = {**RESTRICTED_PROXY, **({"seccompProfile": install["seccompProfile"]} if target == "knative" else {})}
    documents: list[Document] = request.getfixturevalue(target)
    for workload in workloads(documents):
        pod = dict(workload["spec"]["template"]["spec"])
        if target in {"istio", "knative"}:
            sidecar = {"name": "istio-proxy", "securityContext": proxy}
            pod["initContainers"] = [{**sidecar, "name": "istio-validation"}, sidecar]
        assert offences(pod) == [], name_of(workload)
        # What the sidecar's user sends is not redirected into it.
        contexts = {**pod.get("securityContext", {}), **pod["containers"][0]["securityContext"]}
        assert contexts["runAsUser"] != RESTRICTED_PROXY["runAsUser"]


@pytest.mark.parametrize("target", ["istio", "ambient"])
def test_the_proxies_of_gateways_pass_restricted_and_have_limits(target: str, request: pytest.FixtureRequest) -> None:
    documents: list[Document] = request.getfixturevalue(target)
    config = named(documents, "ConfigMap", "proxies")["data"]
    # The keys that Istio knows.
    assert set(config) <= {"deployment", "service", "serviceAccount"}
    overlay = yaml.safe_load(config["deployment"])["spec"]["template"]["spec"]
    (container,) = overlay["containers"]
    made = {"name": container["name"], "securityContext": RESTRICTED_PROXY}
    assert offences({"containers": [made], "securityContext": overlay["securityContext"]}) == []
    assert set(container["resources"]["limits"]) == {"cpu", "memory"}
    for gateway in of_kind(documents, "Gateway"):
        assert gateway["spec"]["infrastructure"]["parametersRef"] == {
            "group": "",
            "kind": "ConfigMap",
            "name": "proxies",
        }


def test_the_pods_that_lessons_add_pass_restricted() -> None:
    files = [file for file in (ROOT / "lessons").rglob("*.yaml") if "containers:" in file.read_text()]
    assert files
    for file in files:
        for template in (one["spec"]["template"] for one in load(file) if "template" in one["spec"]):
            sidecar = {"name": "istio-proxy", "securityContext": RESTRICTED_PROXY}
            pod = {**template["spec"], "initContainers": [sidecar] if file.name.startswith("istio") else []}
            assert offences(pod) == [], file
            assert all(set(one["resources"]["limits"]) == {"cpu", "memory"} for one in pod["containers"]), file
            if file.name.startswith("istio"):
                assert "sidecar.istio.io/proxyCPULimit" in template["metadata"]["annotations"], file
            # Of a private registry only these accounts have the Secret.
            if not file.name.startswith("knative"):
                assert pod["serviceAccountName"] in {"user", "rule", "todolist"}, file


def cpus(text: str) -> float:
    return float(text.removesuffix("m")) / 1000 if text.endswith("m") else float(text)


@pytest.mark.parametrize(("target", "most"), [("istio", 1.5), ("knative", 2.5)])
def test_the_limits_of_a_pod_with_sidecar_fit_a_quota(target: str, most: float, request: pytest.FixtureRequest) -> None:
    documents: list[Document] = request.getfixturevalue(target)
    for workload in workloads(documents):
        template = workload["spec"]["template"]
        annotations = template["metadata"]["annotations"]
        # All four: Istio drops its own defaults as soon as one is there, and a quota wants each.
        limits = [annotations[f"sidecar.istio.io/proxy{what}"] for what in ("CPU", "Memory", "CPULimit", "MemoryLimit")]
        total = cpus(limits[2]) + sum(cpus(one["resources"]["limits"]["cpu"]) for one in template["spec"]["containers"])
        if workload["apiVersion"].startswith("serving.knative.dev/"):
            total += cpus(annotations["queue.sidecar.serving.knative.dev/cpu-resource-limit"])
        assert total <= most, name_of(workload)


def test_the_pods_of_lessons_have_what_todolist_has(istio: list[Document]) -> None:
    todolist = named(istio, "Deployment", "todolist")["spec"]["template"]
    place = Mock(namespace="todolist")
    place.pods.return_value = [{"spec": {**todolist["spec"], "imagePullSecrets": [{"name": "mine"}]}}]
    place.mesh_labels.return_value = {}
    Stranger(place, "todolist", "stranger").start("default", in_mesh=True)
    (pod,) = [json.loads(call.kwargs["stdin"]) for call in place.kubectl.mock_calls if call.kwargs.get("stdin")]
    assert offences(pod["spec"]) == []
    assert pod["spec"]["containers"][0]["resources"]["limits"]
    assert pod["spec"]["imagePullSecrets"] == [{"name": "mine"}]
    annotations = todolist["metadata"]["annotations"]
    sidecar = {name: value for name, value in annotations.items() if name.startswith("sidecar.istio.io/proxy")}
    assert pod["metadata"]["annotations"].items() >= sidecar.items()
