"""`make doctor`: the table, on this machine and with a stand-in for a cluster."""

import io
import os
import shutil
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import yaml

from deploy.doctor import access, machine
from deploy.doctor import cluster as checks
from deploy.doctor.__main__ import main
from deploy.doctor.checks import MACHINE
from deploy.doctor.finding import AMBIENT, ISTIO, KNATIVE
from tests.local_mesh import heed_sigint
from tests.manifests.conftest import container, load, render, workloads
from tests.manifests.stand_in import ISTIO as ISTIO_VERSION
from tests.manifests.stand_in import Cluster, definitions, items
from tests.manifests.test_versions import VERSIONS
from tests.support import ROOT, wait_until

EVERYTHING = "istio knative gateway-api"


def node(name: str, architecture: str = "amd64", ranges: str = "10.244.0.0/24", **more: Any) -> dict[str, Any]:
    """Return a node with this range of addresses. more: of its spec and status."""
    info = {"architecture": architecture, "containerRuntimeVersion": "containerd://2.1.3", "kubeletVersion": "v1"}
    allocatable = {"cpu": "4", "memory": "8131936Ki"}
    status = {"nodeInfo": info, "allocatable": allocatable, "addresses": [], **more.pop("status", {})}
    return {"metadata": {"name": name}, "spec": {"podCIDRs": [ranges], **more}, "status": status}


NODE = node("todolist-control-plane")


class Doctor(Cluster):
    """Runs `make doctor`, or a check of it, in this process, with the stand-in for a cluster."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        # Except for kubectl it looks at the programs of this machine.
        for program in directory.glob("bin/*"):
            if program.name != "kubectl":
                program.unlink()

    def install(self, name: str, script: str) -> None:
        program = self.directory / "bin" / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    def look(self, *command: str, **cluster: str) -> subprocess.CompletedProcess[str]:
        for found in [*vars(checks).values(), *vars(machine).values()]:
            getattr(found, "cache_clear", str)()
        # That a browser starts is not looked at here: it takes seconds.
        with (
            self.current(COLUMNS="400", CHROMIUM=sys.executable, **cluster),
            redirect_stdout(io.StringIO()) as out,
            redirect_stderr(io.StringIO()) as errors,
        ):
            code = main(*command)
        return subprocess.CompletedProcess(command, code, out.getvalue(), errors.getvalue())

    def table(self, *of_machine: str, **cluster: str) -> str:
        """Return the table of the cluster, and of these checks of the machine, in one line."""
        with patch.dict(MACHINE, {name: MACHINE[name] for name in of_machine}, clear=True):
            return " ".join(self.look(**cluster).stdout.split())

    def rows(self, *names: str, **cluster: str) -> str:
        """Return what is missing of these checks."""
        return self.look("check", *names, **cluster).stderr


@pytest.fixture
def doctor(tmp_path: Path) -> Doctor:
    return Doctor(tmp_path)


def test_the_table_without_a_cluster(doctor: Doctor) -> None:
    ended = doctor.look(DENIED="The connection to the server localhost:8080 was refused")
    assert ended.stderr == ""
    table, _, conclusion = ended.stdout.partition("\nWhat works\n")
    subjects = {line.split()[1] for line in table.splitlines() if line.startswith("  ")}
    expected = "Python, venv, system, folder, localhost, ports, limits, browser, Docker, cluster"
    assert subjects >= {*expected.split(", ")}
    assert "`make cluster` makes one with kind, or point kubectl at yours" in " ".join(table.split())
    answers = dict(line.strip().split("  ", 1) for line in conclusion.splitlines())
    assert answers["Istio"].split() == ["no:", "cluster"]
    # Whether `make run` works here is what the exit code says.
    assert answers["make run"].strip().startswith("yes") is (ended.returncode == 0)


def test_a_cluster_with_everything_has_all_rows_and_a_yes_for_each_set(doctor: Doctor) -> None:
    there = {"NODES": items(NODE), "ZTUNNEL": "there", "KIALI": "there", "DEFINITIONS": definitions(manager="todolist")}
    table = doctor.table(**there, KINDS=EVERYTHING)
    for words in (
        f"Istio {ISTIO_VERSION}, revision default in istio-system, installed by `make install-istio`",
        f"the Gateway API v{VERSIONS['GATEWAY_API_VERSION']}, standard channel",
        f"{VERSIONS['KNATIVE_VERSION']}, with net-istio",
        "without Eventing `rule` sends its events to `user` itself",
        "1 amd64, containerd",
        "4.0 CPUs and 7,941 MiB are not requested by others",
        "IPv4",
        "todolist is made by `make deploy`",
        "Kiali and Prometheus are there",
        *(f"{name} yes" for name in ("Istio", "ambient", "Knative", "Kiali")),
    ):
        assert words in table
    assert "with net-istio and Eventing" in doctor.table(**there)


def test_a_user_without_rights_in_the_namespace_is_reported(doctor: Doctor) -> None:
    """Errors of kubectl: tests/manifests/test_kubectl_access.py."""
    assert "may not create Deployments in namespace todolist" in doctor.rows("cluster", MAY="no")


def test_nodes_of_other_architectures_and_address_families(doctor: Doctor) -> None:
    both = items(node("a", "arm64", "fd00:10:244::/64"), node("b", "amd64", "fd00:10:245::/64"))
    table = doctor.table(NODES=both)
    assert "1 amd64 and 1 arm64, containerd: an image must be for all of them" in table
    assert "make build push PLATFORMS=linux/amd64,linux/arm64" in table
    assert "IPv6 alone" in table
    # What `make build` makes here does not start there.
    there = "arm64" if checks.here() == {"amd64"} else "amd64"
    fix = f"make build push PLATFORMS=linux/{there}"
    assert f"does not start there: {fix}" in doctor.rows("nodes", NODES=items(node("a", there)))
    assert "there is no node of Linux yet" in doctor.rows("nodes")
    assert "Istio has no images for s390x" in doctor.rows("nodes", NODES=items(node("a", "s390x")))


def test_a_full_cluster_shows_free_and_needed_resources(doctor: Doctor) -> None:
    busy = {"resources": {"requests": {"cpu": "1850m", "memory": "512Mi"}}}
    spec = {"containers": [busy], "initContainers": [{**busy, "restartPolicy": "Always"}]}
    pod = {"metadata": {"name": "busy", "namespace": "other"}, "spec": spec}
    finished = {**pod, "status": {"phase": "Succeeded"}}
    own = {"metadata": {"name": "todolist", "namespace": "todolist"}, "spec": spec}
    said = doctor.rows("room", NODES=items(NODE), PODS=items(pod, finished, own))
    assert said.startswith("0.3 CPUs and 6,917 MiB are not requested by others; ")
    assert doctor.rows("room", NODES=items(NODE), PODS=items(finished, own)) == ""
    # Two that take no pods of ours: a control plane, and one that is gone; with what runs there.
    taint = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}
    gone = node("gone", status={"conditions": [{"type": "Ready", "status": "Unknown"}]})
    pod["spec"] = {**spec, "nodeName": "control-plane"}
    table = doctor.table(NODES=items(NODE, node("control-plane", taints=[taint]), gone), PODS=items(pod))
    assert "4.0 CPUs and 7,941 MiB are not requested by others" in table
    assert "not ready: gone" in table
    assert "unknown: this user may not list pods" in doctor.table(NODES=items(NODE), FORBIDDEN="get pods")


def test_needed_resources_are_those_that_the_sets_request() -> None:
    def values(name: str) -> Any:
        return yaml.safe_load((ROOT / f"deploy/install/{name}.yaml").read_text())["spec"]["values"]["global"]

    sidecar = values("istio")["proxy"]["resources"]["requests"]
    waypoint = values("ambient")["waypoint"]["resources"]["requests"]

    def added(name: str) -> tuple[float, float]:
        # On Knative with the revision that the set names only in the split.
        beside = load(ROOT / "deploy/knative/user-v1.yaml") if name == KNATIVE else []
        documents, requests = [*render(ROOT / "deploy" / name.lower()), *beside], []
        scalers = {d["metadata"]["name"]: d["spec"] for d in documents if d["kind"] == "HorizontalPodAutoscaler"}
        for each in workloads(documents):
            pods = scalers.get(each["metadata"]["name"], {}).get("minReplicas", each["spec"].get("replicas", 1))
            requests += [container(each)["resources"]["requests"]] * pods
            requests += [sidecar] * pods * (name != AMBIENT)
            # Knative's own proxy in each pod of its Services, as Knative has it by default.
            requests += [{"cpu": "25m", "memory": "0"}] * pods * (each["kind"] == "Service")
        # The gateways that Istio makes: the ingress, and the waypoint.
        requests += [sidecar] * (name != KNATIVE) + [waypoint] * (name == AMBIENT)
        cpu = sum(checks.quantity(each["cpu"]) for each in requests) * 1000
        return round(cpu), sum(checks.quantity(each["memory"]) for each in requests) / 2**20

    assert {name: added(name) for name in (ISTIO, AMBIENT, KNATIVE)} == checks.REQUESTS


def test_a_gateway_api_of_k3s_is_named_with_its_channel(doctor: Doctor) -> None:
    k3s = {"objectset.rio.cattle.io/owner-name": "traefik-crd"}
    there = definitions(channel="experimental", manager="k3s", annotations=k3s)
    assert "experimental channel, installed by k3s" in doctor.table(DEFINITIONS=there)


def test_the_quotas_and_limits_of_the_namespace(doctor: Doctor) -> None:
    """Its Pod Security: tests/manifests/test_namespace.py."""
    hard = {"requests.cpu": "400m", "requests.memory": "1Gi", "pods": "20", "services.loadbalancers": "0"}
    quota = {"metadata": {"name": "small"}, "status": {"hard": hard, "used": {"requests.cpu": "100m", "pods": "3"}}}
    there = {
        "NAMESPACE_THERE": '{"metadata": {"labels": {"app.kubernetes.io/part-of": "todolist"}}}',
        "QUOTAS": items(quota),
        "LIMITS": items({"metadata": {"name": "defaults"}}),
    }
    left = "17 pods, 0.3 requests.cpu, 1,024 MiB requests.memory and 0 services.loadbalancers"
    assert f"quota small leaves {left}" in doctor.rows("rules", **there)
    assert "LimitRange defaults" in doctor.table(**there)


def test_a_missing_load_balancer_and_metrics_server_are_noted(doctor: Doctor) -> None:
    service: Any = {"metadata": {"name": "ingress"}, "spec": {"type": "LoadBalancer"}, "status": {}}
    table = doctor.table(SERVICES=items(service))
    assert "ingress waits for an address: `make url` forwards a port" in table
    assert "always have two pods" in table
    service["status"]["loadBalancer"] = {"ingress": [{"hostname": "x.elb.amazonaws.com"}]}
    server = '{"status": {"conditions": [{"type": "Available", "status": "True"}]}}'
    table = doctor.table(SERVICES=items(service), METRICS_SERVER=server)
    assert "it gives addresses, such as x.elb.amazonaws.com" in table
    assert "always have two pods" not in table


def test_problems_with_images_are_reported(doctor: Doctor) -> None:
    cannot = "echo 'Cannot connect to the Docker daemon"
    denied = "ERROR: permission denied at unix:///var/run/docker.sock"
    for script, said in (
        (
            f"echo '{denied}\nerrors pretty printing info' >&2; exit 1",
            f"this user may not use Docker ({denied}): sudo usermod -aG docker",
        ),
        ("printf 'Client:\\nServer:\\n Server Version: 28.2.2\\n'", "Docker's buildx is missing"),
        (f"{cannot} at unix:///run/user/1000/docker.sock. x' >&2; exit 1", "systemctl --user start docker"),
        (f"{cannot} at tcp://10.0.0.9:2375. Is it?' >&2; exit 1", "unset DOCKER_HOST"),
        (f"{cannot} at unix:///home/a/.docker/desktop/docker.sock. x' >&2; exit 1", "start Docker Desktop"),
        (f"{cannot}' >&2; exit 1", "Docker does not answer (Cannot connect"),
    ):
        doctor.install("docker", script)
        assert said in doctor.rows("docker", "buildx")
    # `make build` and `make cluster` say the same.
    env = {**os.environ, "PATH": f"{doctor.directory}/bin:{os.environ['PATH']}", "REGISTRY": "dev.local", "TAG": "x"}
    command = ["deploy/scripts/images.sh", "build"]
    ended = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (1, doctor.rows("docker", "buildx"))


def test_a_kubectl_that_hangs_is_one_line_and_can_be_interrupted(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a credential plugin that waits for a login in a browser."""
    doctor.install("kubectl", f"[ $1 = get ] || {{ echo sso; exit; }}\ntouch {doctor.directory}/asked\nexec sleep 30")
    monkeypatch.setenv("PATH", f"{doctor.directory}/bin{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(access, "KUBECTL_TIMEOUT", 1)
    said = str(access.answer())
    assert said.startswith("kubectl does not answer in context sso within 1 s: `kubectl version` shows what it waits")
    assert "\n" not in said
    (doctor.directory / "asked").unlink()
    # A session of its own: Ctrl-C in a terminal reaches all processes of the foreground.
    checking = subprocess.Popen(
        ["make", "doctor"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, preexec_fn=heed_sigint,  # noqa: PLW1509 - nothing else runs yet
        env={**os.environ, "CHROMIUM": sys.executable},
    )  # fmt: skip
    wait_until((doctor.directory / "asked").exists, "the cluster is asked")
    os.killpg(checking.pid, signal.SIGINT)
    assert "Traceback" not in checking.communicate(timeout=20)[1]


def test_dockers_compose_builder_and_image_store_have_rows(doctor: Doctor) -> None:
    for script, said in (("echo 2.38.2", "ok compose 2.38.2"), ("exit 1", "Compose v2 is missing")):
        doctor.install("docker", f"[ $1 != compose ] || {{ {script}; }}")
        assert said in doctor.table("compose")
    doctor.install("docker", "printf 'Client:\\n  buildx: Docker Buildx (Docker Inc., v0.10.4)\\nServer:\\n'")
    assert doctor.rows("buildx") == ""
    # One that has its builder in it builds for one platform.
    doctor.install("docker", "[ $1 = version ] && echo 20.10.24+dfsg1 || printf 'Client:\\nServer:\\n'")
    assert doctor.rows("buildx") == ""
    assert "Docker's buildx is missing" in doctor.rows("buildx", PLATFORMS="linux/amd64,linux/arm64")
    buildx = "buildx: Docker Buildx (Docker Inc.)\n    Version:  v0.24.0"
    store = "Storage Driver: overlayfs\n  driver-type: io.containerd.snapshotter.v1"
    doctor.install("docker", f"echo 'Client:\n  {buildx}\nServer:\n {store}'")
    table = doctor.table("docker", "buildx", "image-store")
    assert "containerd's image store" in table
    assert "v0.24.0" in table


def test_the_table_works_on_an_old_python(tmp_path: Path) -> None:
    """The doctor itself runs on it; here it only plays an old one."""
    for part in ("Makefile", "deploy"):
        (tmp_path / part).symlink_to(ROOT / part)
    (tmp_path / "bin").mkdir()
    for name in ("sh", "bash", "env", "make", "git", "sed", "awk", "uname", "cat"):
        (tmp_path / "bin" / name).symlink_to(str(shutil.which(name)))
    python = tmp_path / "bin/python3"
    python.write_text(f'#!/bin/sh\ncase "$*" in *"(3, 11)"*) exit 1 ;; esac\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    ended = subprocess.run(
        ["make", "doctor"], cwd=tmp_path, env={**os.environ, "PATH": str(tmp_path / "bin")},
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert "Python 3.11 or newer is missing" in ended.stdout
    # Where the system has an old one, its package brings no newer one.
    assert "https://docs.astral.sh/uv/ brings one beside it" in " ".join(ended.stdout.split())
    assert ended.returncode != 0
    assert "Traceback" not in ended.stderr
