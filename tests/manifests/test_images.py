"""Images: full names, a mirror of third-party images, a private registry, the nodes of a cluster."""

import json
import re

import yaml

from tests.manifests.conftest import CUSTOMIZED, DEPLOY, Document, container, labels, of_kind, services, workloads
from tests.manifests.stand_in import Cluster
from tests.support import ROOT

# A registry, a path, and a tag or digest.
FULL = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+(:\d+)?/[\w./-]+[:@][\w.:-]+")
MIRROR = CUSTOMIZED["MIRROR"]


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


def test_mirror_is_prefixed_to_all_third_party_images(customized: list[Document]) -> None:
    for workload in of_kind(customized, "StatefulSet"):
        assert container(workload)["image"].startswith(f"{MIRROR}/docker.io/library/postgres:")
    for workload in services(customized):
        assert container(workload)["image"] == f"{CUSTOMIZED['REGISTRY']}/{labels(workload)['app']}:v9"


def test_mirror_is_prefixed_to_what_is_installed_and_built(cluster: Cluster) -> None:
    said, did = cluster.run("install", "istio", MIRROR=f"{MIRROR}/")
    assert (said, f"--set=hub={MIRROR}/docker.io/istio" in did[-1]) == ("", True)
    said, _ = cluster.run("install", "kiali", MIRROR=MIRROR)
    assert f"image: {MIRROR}/docker.io/prometheus/prometheus:1" in cluster.applied
    foreign = {"CURL": "  - image: gcr.io/knative/queue@sha256:1\n  queue-sidecar-image: gcr.io/knative/queue@sha256:1"}
    said, _ = cluster.run("install", "knative", MIRROR=MIRROR, INGRESS="there", EVENTING="no", **foreign)
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


def test_every_pod_pulls_with_the_secret(customized: list[Document]) -> None:
    accounts = {one["metadata"]["name"]: one.get("imagePullSecrets") for one in of_kind(customized, "ServiceAccount")}
    used = {workload["spec"]["template"]["spec"]["serviceAccountName"] for workload in workloads(customized)}
    assert [accounts[name] for name in used] == [[{"name": "mine"}]] * len(used)
    # Istio makes the accounts of Gateways.
    for config in of_kind(customized, "ConfigMap"):
        assert yaml.safe_load(config["data"]["serviceAccount"]) == {"imagePullSecrets": [{"name": "mine"}]}


def test_a_missing_pull_secret_is_reported_with_the_command_that_creates_it(cluster: Cluster) -> None:
    said, _ = cluster.run("deploy", "", IMAGE_PULL_SECRET="mine", NO_SECRET="mine")
    assert "kubectl create secret docker-registry mine --namespace=todolist" in said
    assert len(said.splitlines()) == 1


def node(runtime: str, **labels: str) -> str:
    info = {"containerRuntimeVersion": f"{runtime}://1.2.3", "kubeletVersion": "v1.35.0"}
    return json.dumps({"items": [{"metadata": {"name": "node", "labels": labels}, "status": {"nodeInfo": info}}]})


MINIKUBE, MICROK8S = {"minikube.k8s.io/name": "shop"}, {"microk8s.io/cluster": "true"}
HERE = {"TAG": "1", "REGISTRY": "dev.local"}


def test_local_images_are_loaded_into_the_nodes(cluster: Cluster) -> None:
    for context, nodes, way in (
        ("kind-shop", node("containerd"), "kind shop"),
        ("k3d-shop", node("containerd"), "k3d shop"),
        ("shop", node("docker", **MINIKUBE), "minikube shop"),
        ("docker-desktop", node("containerd"), "shared"),
        ("colima", node("docker"), "shared"),
    ):
        assert cluster.ask("platform", "images", CONTEXT_NAME=context, NODES=nodes) == (way, "")
    # The store of containerd, of which a node gets one platform.
    index = {"DOCKER_INFO": "[[driver-type io.containerd.snapshotter.v1]]"}
    for context, nodes, docker, loaded in (
        ("kind-shop", node("containerd"), {}, "kind load docker-image dev.local/rule:1 --name=shop"),
        ("k3d-shop", node("containerd"), {}, "k3d image import dev.local/rule:1 --cluster=shop"),
        ("shop", node("docker", **MINIKUBE), {}, "minikube image load dev.local/rule:1 --profile=shop"),
        ("kind-shop", node("containerd"), index, "kind load image-archive"),
        ("colima", node("docker"), {}, ""),
    ):
        said, did = cluster.run("images", "push", CONTEXT_NAME=context, NODES=nodes, **HERE, **docker)
        assert said == ""
        assert len([call for call in did if loaded and call.startswith(loaded)]) == bool(loaded) * (3 if docker else 1)
        assert ("whose images this cluster shares" in cluster.output) is not bool(loaded)
        saved = [call for call in did if call.startswith("docker save --platform=linux/arm64")]
        assert len(saved) == (3 if docker else 0)
    said, _ = cluster.run("images", "push", CONTEXT_NAME="kind-shop", NODES=nodes, **HERE, **index, OLD_DOCKER="1")
    assert "update Docker to 28 or newer" in said


def test_nodes_without_dockers_images_are_reported(cluster: Cluster) -> None:
    for context, nodes, named in (
        ("colima-work", node("containerd"), "colima start --runtime docker"),
        ("rancher-desktop", node("containerd"), "dockerd in Rancher Desktop"),
        ("microk8s", node("containerd", **MICROK8S), "microk8s ctr image import"),
        (
            eks := "arn:aws:eks:eu-west-1:1:cluster/shop",
            node("containerd"),
            "do not see Docker's images: set REGISTRY=",
        ),
    ):
        assert named in cluster.ask("platform", "images", CONTEXT_NAME=context, NODES=nodes)[1]
    assert named in cluster.refusal("images", "push", CONTEXT_NAME=eks, NODES=nodes, **HERE)
