"""Images: full names, a mirror of third-party images, a private registry, the nodes of a cluster."""

import json
import re

import pytest
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


def test_every_pod_pulls_from_the_mirror_or_our_registry_with_the_secret(customized: list[Document]) -> None:
    for workload in of_kind(customized, "StatefulSet"):
        assert container(workload)["image"].startswith(f"{MIRROR}/docker.io/library/postgres:")
    for workload in services(customized):
        assert container(workload)["image"] == f"{CUSTOMIZED['REGISTRY']}/{labels(workload)['app']}:v9"
    accounts = {one["metadata"]["name"]: one.get("imagePullSecrets") for one in of_kind(customized, "ServiceAccount")}
    used = {workload["spec"]["template"]["spec"]["serviceAccountName"] for workload in workloads(customized)}
    assert [accounts[name] for name in used] == [[{"name": "mine"}]] * len(used)
    # Istio makes the accounts of Gateways.
    for config in of_kind(customized, "ConfigMap"):
        assert yaml.safe_load(config["data"]["serviceAccount"]) == {"imagePullSecrets": [{"name": "mine"}]}


def test_mirror_is_prefixed_to_what_is_installed_and_built(cluster: Cluster) -> None:
    """To Kiali's add-ons, too: test_add_ons_can_be_left_out."""
    assert f"--set=hub={MIRROR}/docker.io/istio" in cluster.run("install", "istio", MIRROR=f"{MIRROR}/")[-1]
    foreign = {"CURL": "  - image: gcr.io/knative/queue@sha256:1\n  queue-sidecar-image: gcr.io/knative/queue@sha256:1"}
    cluster.run("install", "knative", MIRROR=MIRROR, INGRESS="there", EVENTING="no", **foreign)
    assert f"  - image: {MIRROR}/gcr.io/knative/queue@sha256:1\n" in cluster.applied
    assert f"  queue-sidecar-image: {MIRROR}/gcr.io/knative/queue@sha256:1\n" in cluster.applied
    built = [call for call in cluster.run("images", "build", MIRROR=MIRROR) if " build " in call]
    assert built
    assert all(f"BASE={MIRROR}/docker.io/library/python:" in call for call in built)


def test_traffic_comes_from_the_mirror_with_the_secret_and_speaks_tls(cluster: Cluster) -> None:
    secured = {"DEPLOYED": "istio", "GATEWAYS": "ingress-certificate"}
    cluster.run("traffic", "start", MIRROR=MIRROR, IMAGE_PULL_SECRET="mine", **secured)
    text = (cluster.directory / ".build/traffic/kustomization.yaml").read_text()
    made = yaml.safe_load(text)
    assert {"name": "docker.io/locustio/locust", "newName": f"{MIRROR}/docker.io/locustio/locust"} in made["images"]
    (patch,) = made["patches"]
    assert json.loads(patch["patch"])[0]["value"] == [{"name": "mine"}]
    assert "TRAFFIC_URL=https://ingress-istio.todolist.svc.cluster.local\n" in text
    assert "TRAFFIC_CA=/certificate/ca.crt\n" in text


def test_a_missing_pull_secret_is_reported_with_the_command_that_creates_it(cluster: Cluster) -> None:
    said = cluster.failure("deploy", IMAGE_PULL_SECRET="mine", NO_SECRET="mine")
    assert "kubectl create secret docker-registry mine --namespace=todolist" in said
    assert len(said.splitlines()) == 1


def node(runtime: str, **labels: str) -> str:
    info = {"containerRuntimeVersion": f"{runtime}://1.2.3", "kubeletVersion": "v1.35.0"}
    return json.dumps({"items": [{"metadata": {"name": "node", "labels": labels}, "status": {"nodeInfo": info}}]})


MINIKUBE, MICROK8S = {"minikube.k8s.io/name": "shop"}, {"microk8s.io/cluster": "true"}
# The store of containerd, of which a node gets one platform.
INDEX = {"DOCKER_INFO": "[[driver-type io.containerd.snapshotter.v1]]"}


@pytest.mark.parametrize(
    ("context", "nodes", "docker", "loaded"),
    [
        ("kind-shop", node("containerd"), {}, "kind load docker-image dev.local/rule:1 --name=shop"),
        ("k3d-shop", node("containerd"), {}, "k3d image import dev.local/rule:1 --cluster=shop"),
        ("shop", node("docker", **MINIKUBE), {}, "minikube image load dev.local/rule:1 --profile=shop"),
        ("kind-shop", node("containerd"), INDEX, "kind load image-archive"),
        ("colima", node("docker"), {}, ""),
        ("docker-desktop", node("containerd"), {}, ""),
    ],
)
def test_local_images_are_loaded_into_the_nodes(
    context: str, nodes: str, docker: dict[str, str], loaded: str, cluster: Cluster
) -> None:
    did = cluster.run("images", "push", CONTEXT_NAME=context, NODES=nodes, **docker)
    assert len([call for call in did if loaded and call.startswith(loaded)]) == bool(loaded) * (3 if docker else 1)
    assert ("whose images this cluster shares" in cluster.output) is not bool(loaded)
    saved = [call for call in did if call.startswith("docker save --platform=linux/arm64")]
    assert len(saved) == (3 if docker else 0)


def test_an_old_docker_cannot_save_one_platform(cluster: Cluster) -> None:
    state = {"CONTEXT_NAME": "kind-shop", "NODES": node("containerd"), "OLD_DOCKER": "1"}
    assert "update Docker to 28 or newer" in cluster.failure("images", "push", **state, **INDEX)


def test_nodes_without_dockers_images_are_reported(cluster: Cluster) -> None:
    for context, nodes, named in (
        ("colima-work", node("containerd"), "colima start --runtime docker"),
        ("rancher-desktop", node("containerd"), "dockerd in Rancher Desktop"),
        ("microk8s", node("containerd", **MICROK8S), "microk8s ctr image import"),
        ("arn:aws:eks:eu-west-1:1:cluster/shop", node("containerd"), "do not see Docker's images: set REGISTRY="),
    ):
        assert named in cluster.ask("platform", "images", CONTEXT_NAME=context, NODES=nodes)[1]
