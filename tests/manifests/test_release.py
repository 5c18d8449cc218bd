"""A release that is installed without the repository: two commands. The images are in a registry on this machine."""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.manifests.conftest import Document, below, container, kind, kubectl, labels, named, of_kind, workloads
from tests.manifests.test_versions import OURS
from tests.support import ROOT, answers, free_port, wait_until

STEP = "deploy/release/release.sh"
SERVICES = ("todolist", "user", "rule")
SETS = ("istio", "ambient", "knative")
INDEX, MANIFEST = (f"application/vnd.oci.image.{what}.v1+json" for what in ("index", "manifest"))


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start Debian's docker-registry, and give its address."""
    program = shutil.which("docker-registry")
    if not program:
        pytest.skip("docker-registry is missing: apt install docker-registry")
    directory = tmp_path_factory.mktemp("registry")
    address = f"127.0.0.1:{free_port()}"
    settings = {"version": "0.1", "storage": {"inmemory": {}}, "http": {"addr": address}, "log": {"level": "error"}}
    (directory / "config.yml").write_text(yaml.safe_dump(settings))
    with subprocess.Popen([program, "serve", directory / "config.yml"], stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: answers(f"http://{address}/v2/"), "the registry answers")
        yield address
        process.terminate()


def push(registry: str, name: str, tag: str) -> str:
    """Push an image for two platforms, as `make push PLATFORMS=` does, and return the digest of its index."""

    def put(tag: str, body: dict[str, Any]) -> dict[str, Any]:
        content = json.dumps(body).encode()
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        headers = {"content-type": body["mediaType"]}
        httpx.put(f"http://{registry}/v2/{name}/manifests/{tag or digest}", content=content, headers=headers)
        return {"mediaType": body["mediaType"], "size": len(content), "digest": digest}

    # One configuration for both, and no layers.
    blob = f"sha256:{hashlib.sha256(b'{}').hexdigest()}"
    where = httpx.URL(httpx.post(f"http://{registry}/v2/{name}/blobs/uploads/").headers["location"])
    httpx.put(where, params={**where.params, "digest": blob}, content=b"{}").raise_for_status()
    config = {"mediaType": f"{MANIFEST}.config", "size": 2, "digest": blob}
    image = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []}
    platforms = [
        {**put("", {**image, "annotations": {"for": each}}), "platform": {"architecture": each, "os": "linux"}}
        for each in ("amd64", "arm64")
    ]
    return str(put(tag, {"schemaVersion": 2, "mediaType": INDEX, "manifests": platforms})["digest"])


def step(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(kubectl()).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "TAG": f"v{OURS}", "REGISTRY": "ghcr.io/you/todolist", **settings}
    return subprocess.run([STEP, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def release(registry: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The files of a release, and the images in them."""
    images = {name: f"{registry}/you/{name}@{push(registry, f'you/{name}', f'v{OURS}')}" for name in SERVICES}
    out = tmp_path_factory.mktemp("release")
    done = step("manifests", str(out), REGISTRY=f"{registry}/you", NAMESPACE="todolist")
    assert done.returncode == 0, done.stderr
    return out, images


def documents(release: tuple[Path, dict[str, str]], name: str) -> list[Document]:
    return [one for one in yaml.safe_load_all((release[0] / f"todolist-{name}.yaml").read_text()) if one]


@pytest.mark.parametrize("name", SETS)
def test_a_set_is_one_file_with_the_published_images_by_digest(name: str, release: tuple[Path, dict[str, str]]) -> None:
    out, images = release
    assert (out / "images.txt").read_text().splitlines() == [images[service] for service in SERVICES]
    found = documents(release, name)
    # On Knative versions are Configurations.
    ours = [each for each in [*workloads(found), *of_kind(found, "KConfiguration")] if each["kind"] != "StatefulSet"]
    versions = {f"{labels(workload)['app']}-{labels(workload)['version']}" for workload in ours}
    assert versions == {"todolist-v1", "user-v1", "user-v2", "rule-v1"}
    for workload in ours:
        assert container(workload)["image"] == images[labels(workload)["app"]]
    for workload in of_kind(found, "StatefulSet"):
        assert container(workload)["image"].startswith("docker.io/library/postgres:")


@pytest.mark.parametrize("name", SETS)
def test_the_file_of_a_release_is_the_whole_set(
    name: str, release: tuple[Path, dict[str, str]], request: pytest.FixtureRequest
) -> None:
    def names(found: list[Document]) -> list[tuple[str, str, str]]:
        return sorted((kind(d), d["metadata"]["name"], d["metadata"].get("namespace", "")) for d in found)

    wanted = names(request.getfixturevalue(name))
    if name == "knative":
        for one in (("KService", "user"), ("Broker", "events"), ("Trigger", "user")):
            wanted.remove((*one, "todolist"))
        wanted += [("KConfiguration", f"user-{version}", "todolist") for version in ("v1", "v2")]
        wanted += [("KRoute", "user", "todolist"), ("AuthorizationPolicy", "todolist", "knative-serving")]
    found = documents(release, name)
    assert names(found) == sorted(wanted)
    if name == "knative":
        traffic = named(found, "KRoute", "user")["spec"]["traffic"]
        split = {entry["configurationName"]: entry["percent"] for entry in traffic}
        assert split == {"user-v1": 50, "user-v2": 50}
        for configuration in of_kind(found, "KConfiguration"):
            # A name of its own belongs to one revision, and Knative makes it.
            assert "name" not in configuration["spec"]["template"]["metadata"]
            assert set(configuration["spec"]) == {"template"}


def test_the_script_creates_random_secrets(release: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    (tmp_path / "kubectl").write_text(
        '#!/bin/sh\ncd "${0%/*}"\ncase "$1" in\n  get) ;;\n'
        '  create) echo "$*" >>calls; case "$*" in *secret*) cat >"$4" ;; esac ;;\n  *) echo "$*" >>calls ;;\nesac\n'
    )
    (tmp_path / "kubectl").chmod(0o755)
    # Piped into sh, with next to nothing of a shell.
    script = (release[0] / "secrets.sh").read_text()
    environment = {"PATH": f"{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin"}
    subprocess.run(["sh"], input=script, text=True, env=environment, check=True, capture_output=True)
    calls = (tmp_path / "calls").read_text()
    assert calls.startswith("create namespace todolist\n")
    # Of these names: test_each_secret_that_is_read_is_created.
    assert calls.count("create secret generic ") == 4
    assert (tmp_path / "user-token-key").read_text().startswith("-----BEGIN PRIVATE KEY-----\n")
    passwords = {(tmp_path / name).read_text() for name in ("user-database", "rule-database", "user-admin")}
    assert [len(password) for password in passwords] == [36, 36, 36]


def test_a_missing_tag_is_one_line(registry: str, tmp_path: Path) -> None:
    done = step("manifests", str(tmp_path), REGISTRY=f"{registry}/nobody")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith(f"{registry}/nobody/todolist:v{OURS} is not in its registry")


def test_the_tag_of_a_release_is_the_version() -> None:
    done = step("check", TAG="v0.0.0")
    assert (done.returncode, done.stderr) == (1, f"the tag is v0.0.0, and pyproject.toml says {OURS}\n")
    assert step("check").returncode == 0


def test_the_notes_begin_with_the_two_commands(release: tuple[Path, dict[str, str]]) -> None:
    github = {"GITHUB_SERVER_URL": "https://git.example", "GITHUB_REPOSITORY": "you/todolist"}
    done = step("notes", str(release[0]), GITHUB_REF="refs/tags/x", **github)
    assert done.returncode == 0, done.stderr
    notes = (release[0] / "notes.md").read_text()
    download = f"https://git.example/you/todolist/releases/download/v{OURS}"
    assert f"{download}/secrets.sh | sh\nkubectl apply --filename={download}/todolist-istio.yaml\n" in notes
    assert all(f"cosign verify {image} " in notes for image in release[1].values())


def test_the_workflow_runs_these_steps_and_no_others() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/release.yaml").read_text())
    text = "\n".join(line for run in below(workflow, "run") for line in run.splitlines())
    for name in ("check", "manifests dist", "sign dist", "notes dist", "publish dist"):
        assert f"{STEP} {name}" in text
    assert not any(word in text for word in ("kubectl", "cosign", "gh release"))
