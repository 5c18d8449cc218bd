"""Images: full names, a mirror of third-party images, a private registry, the nodes of a cluster."""

import json
import re
from typing import Any

import pytest
import yaml

from tests.manifests.conftest import DEPLOY, container, of_kind, services, workloads
from tests.manifests.stand_in import Cluster
from tests.support import ROOT

# A registry, a path, and a tag or digest.
FULL = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+(:\d+)?/[\w./-]+[:@][\w.:-]+")
MIRROR = "mirror.example:5000/hub"


def named_images() -> list[tuple[str, str]]:
    """Return the third-party images in files; our own have no full name until they are deployed."""
    found = []
    for file in sorted([*DEPLOY.rglob("*.yaml"), *(ROOT / "lessons").rglob("*.yaml")]):
        names = re.findall(r"^ *(?:- )?image: *(\S+)", file.read_text(), re.MULTILINE)
        found += [(file.name, name) for name in names if name not in {"todolist", "user", "rule"}]
    for file in sorted((ROOT / "services").glob("*/Dockerfile")):
        found += [(file.parent.name, name) for name in re.findall(r"^ARG BASE=(\S+)", file.read_text(), re.MULTILINE)]
    return found


def test_third_party_images_have_full_names_and_a_version() -> None:
    found = [(file, image.replace("${MIRROR:+${MIRROR}/}", "")) for file, image in named_images()]
    others = [(file, image) for file, image in found if not image.startswith("${REGISTRY")]
    assert {image.split("/")[-1].split(":")[0] for _, image in others} >= {"postgres", "locust", "envoy", "python"}
    # CRI-O rejects a short name.
    assert [one for one in others if not FULL.fullmatch(one[1]) or one[1].endswith(":latest")] == []


@pytest.mark.parametrize("target", ["istio", "ambient", "knative"])
def test_mirror_is_prefixed_to_all_third_party_images(target: str, deploy_sh: Any, cluster: Cluster) -> None:
    for workload in of_kind(deploy_sh("render", target, MIRROR=MIRROR), "StatefulSet"):
        assert container(workload)["image"].startswith(f"{MIRROR}/docker.io/library/postgres:")
    for workload in services(deploy_sh("render", target, MIRROR=MIRROR)):
        assert container(workload)["image"].startswith("dev.local/")
    # What `make install-*` applies.
    said, did = cluster.run("install", "istio", MIRROR=f"{MIRROR}/")
    assert (said, f"--set=hub={MIRROR}/docker.io/istio" in did[-1]) == ("", True)
    said, _ = cluster.run("install", "kiali", MIRROR=MIRROR)
    assert f"image: {MIRROR}/docker.io/prometheus/prometheus:1" in cluster.applied
    foreign = {"CURL": "  - image: gcr.io/knative/queue@sha256:1\n  queue-sidecar-image: gcr.io/knative/queue@sha256:1"}
    said, _ = cluster.run("install", "knative", MIRROR=MIRROR, INGRESS="there", **foreign)
    assert f"  - image: {MIRROR}/gcr.io/knative/queue@sha256:1\n" in cluster.applied
    assert f"  queue-sidecar-image: {MIRROR}/gcr.io/knative/queue@sha256:1\n" in cluster.applied
    said, did = cluster.run("images", "build", MIRROR=MIRROR)
    built = [call for call in did if " build " in call]
    assert len(built) == len([call for call in built if f"BASE={MIRROR}/docker.io/library/python:" in call]) > 0


def test_traffic_comes_from_the_mirror_and_with_the_secret(cluster: Cluster) -> None:
    cluster.run("traffic", "start", DEPLOYED="istio", MIRROR=MIRROR, IMAGE_PULL_SECRET="mine")
    made = yaml.safe_load((cluster.directory / ".build/traffic/kustomization.yaml").read_text())
    assert {"name": "docker.io/locustio/locust", "newName": f"{MIRROR}/docker.io/locustio/locust"} in made["images"]
    (patch,) = made["patches"]
    assert json.loads(patch["patch"])[0]["value"] == [{"name": "mine"}]


@pytest.mark.parametrize("target", ["istio", "ambient", "knative"])
def test_every_pod_pulls_with_the_secret(target: str, deploy_sh: Any) -> None:
    made = deploy_sh("render", target, IMAGE_PULL_SECRET="mine")
    accounts = {
        account["metadata"]["name"]: account.get("imagePullSecrets") for account in of_kind(made, "ServiceAccount")
    }
    used = {workload["spec"]["template"]["spec"]["serviceAccountName"] for workload in workloads(made)}
    assert [accounts[name] for name in used] == [[{"name": "mine"}]] * len(used)
    # Istio makes the accounts of Gateways.
    for config in of_kind(made, "ConfigMap"):
        assert yaml.safe_load(config["data"]["serviceAccount"]) == {"imagePullSecrets": [{"name": "mine"}]}


def test_a_missing_pull_secret_is_reported_with_the_command_that_creates_it(cluster: Cluster) -> None:
    said, _ = cluster.run("deploy", "", IMAGE_PULL_SECRET="mine", NO_SECRET="mine")
    assert "kubectl create secret docker-registry mine --namespace=todolist" in said
    assert len(said.splitlines()) == 1


def node(runtime: str, **labels: str) -> str:
    info = {"containerRuntimeVersion": f"{runtime}://1.2.3", "kubeletVersion": "v1.35.0"}
    return json.dumps({"items": [{"metadata": {"name": "node", "labels": labels}, "status": {"nodeInfo": info}}]})


@pytest.mark.parametrize(
    ("context", "nodes", "loaded"),
    [
        ("kind-shop", node("containerd"), "kind load docker-image dev.local/rule:1 --name=shop"),
        ("k3d-shop", node("containerd"), "k3d image import dev.local/rule:1 --cluster=shop"),
        (
            "shop",
            node("docker", **{"minikube.k8s.io/name": "shop"}),
            "minikube image load dev.local/rule:1 --profile=shop",
        ),
        ("docker-desktop", node("containerd"), ""),
        ("colima", node("docker"), ""),
        ("orbstack", node("docker"), ""),
    ],
)
def test_local_images_are_loaded_into_the_nodes(context: str, nodes: str, loaded: str, cluster: Cluster) -> None:
    said, did = cluster.run("images", "push", CONTEXT_NAME=context, NODES=nodes, TAG="1", REGISTRY="dev.local")
    assert said == ""
    assert [call for call in did if "rule" in call and "inspect" not in call] == ([loaded] if loaded else [])
    assert ("whose images this cluster shares" in cluster.output) is not bool(loaded)


@pytest.mark.parametrize(
    ("context", "nodes", "named"),
    [
        ("colima-work", node("containerd"), "colima start --runtime docker"),
        ("rancher-desktop", node("containerd"), "dockerd in Rancher Desktop"),
        ("microk8s", node("containerd", **{"microk8s.io/cluster": "true"}), "microk8s ctr image import"),
        ("arn:aws:eks:eu-west-1:1:cluster/shop", node("containerd"), "do not see Docker's images: set REGISTRY="),
    ],
)
def test_nodes_without_dockers_images_are_reported(context: str, nodes: str, named: str, cluster: Cluster) -> None:
    said, did = cluster.run("images", "push", CONTEXT_NAME=context, NODES=nodes, TAG="1", REGISTRY="dev.local")
    assert named in said
    assert (len(said.splitlines()), did) == (1, [])


@pytest.mark.parametrize(
    ("context", "labels", "loads"),
    [
        ("kind-shop", {}, "kind load image-archive"),
        ("k3d-shop", {}, "k3d image import"),
        ("shop", {"minikube.k8s.io/name": "shop"}, "minikube image load"),
    ],
)
def test_a_node_gets_one_platform_of_an_image_in_containerds_store(
    context: str, labels: dict[str, str], loads: str, cluster: Cluster
) -> None:
    here = {"CONTEXT_NAME": context, "NODES": node("containerd", **labels), "TAG": "1", "REGISTRY": "dev.local"}
    here["DOCKER_INFO"] = "[[driver-type io.containerd.snapshotter.v1]]"
    said, did = cluster.run("images", "push", **here)
    assert said == ""
    saved = [call for call in did if call.startswith("docker save")]
    assert len(saved) == len([call for call in did if call.startswith(loads) and "image.tar" in call]) == 3
    assert "--platform=linux/arm64" in saved[0]
    said, _ = cluster.run("images", "push", **here, OLD_DOCKER="1")
    assert "update Docker to 28 or newer" in said
