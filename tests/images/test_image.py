"""Each image by itself: what is in it, and how it runs and ends."""

import re
import subprocess
import tarfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.images.conftest import LOCKED_DOWN, PORTS, ROOT, docker, image, inspect
from tests.support import wait_until

GRACE = 10
OURS = 90_000_000
USER = "10001:10001"
# With its content: libraries name the first line.
PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/=\s]{40}")

Run = Callable[..., str]


@pytest.fixture
def run() -> Iterator[Run]:
    """Start containers that are removed afterwards."""
    names = []

    def start(service: str, *options: str) -> str:
        names.append(f"todolist-test-{uuid.uuid4().hex[:8]}")
        docker("run", "--detach", f"--name={names[-1]}", *LOCKED_DOWN, *options, image(service))
        return names[-1]

    yield start
    for name in names:
        docker("rm", "--force", "--volumes", name)


def data(service: str) -> list[str]:
    """Return the options for a service without a database server."""
    return [] if service == "todolist" else [f"--tmpfs=/app/data:uid={USER.partition(':')[0]}"]


@pytest.mark.parametrize("service", PORTS)
def test_it_has_the_standard_labels_and_no_secret_in_its_history(service: str) -> None:
    config = inspect(image(service))["Config"]
    labels = {key.removeprefix("org.opencontainers.image."): value for key, value in config["Labels"].items()}
    assert (labels["title"], labels["licenses"], labels["version"]) == (service, "MIT", "test")
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert labels["revision"] == commit.strip()
    assert config["User"] == USER
    history = docker("history", "--no-trunc", "--format={{.CreatedBy}}", image(service))
    for word in ("PASSWORD", "TOKEN", "PRIVATE KEY"):
        assert word not in history
        assert not any(word in entry for entry in config["Env"])


@pytest.mark.parametrize("service", PORTS)
def test_it_is_small(service: str) -> None:
    lines = docker("history", "--human=false", "--no-trunc", "--format={{.Size}} {{.CreatedBy}}", image(service))
    ours = [line for line in lines.splitlines() if "COPY" in line]
    assert 0 < sum(int(line.split()[0]) for line in ours) < OURS


@pytest.mark.parametrize("service", PORTS)
def test_it_contains_only_its_own_code_which_is_compiled(service: str) -> None:
    places = ("/app", "/opt/venv/bin", "/opt/venv/lib", "/run/secrets", "/build")
    files = docker("run", "--rm", "--entrypoint=find", image(service), *places, "-type", "f", check=False).split()
    modules = {name.split("/")[3] for name in files if name.startswith("/app/services/") and name.count("/") > 3}
    assert modules - {"__pycache__"} == {"chassis", service}
    assert not [name for name in files if name.startswith(("/run/secrets", "/build"))]
    ours = [name for name in files if not name.startswith("/opt/venv/lib")]
    assert not [name for name in ours if name.endswith(("Dockerfile", ".pem", ".key", ".db", "/pip"))]
    compiled = {name.split(".cpython-")[0].replace("/__pycache__/", "/") for name in files if name.endswith(".pyc")}
    sources = {name.removesuffix(".py") for name in files if name.endswith(".py")}
    assert not {name for name in sources - compiled if name.startswith("/app") or "/fastapi/" in name}


@pytest.mark.parametrize("service", PORTS)
def test_no_file_of_a_layer_is_a_private_key(service: str, tmp_path: Path) -> None:
    """In every layer, also where a later one takes the file away again."""
    saved = tmp_path / "image.tar"
    docker("save", f"--output={saved}", image(service))
    searched, found = 0, []
    with tarfile.open(saved) as archive:
        for blob in filter(tarfile.TarInfo.isfile, archive):
            # A layer is an archive inside the archive; the other files describe the image.
            with suppress(tarfile.ReadError), tarfile.open(fileobj=archive.extractfile(blob)) as layer:
                for file in filter(tarfile.TarInfo.isfile, layer):
                    searched += 1
                    if PRIVATE_KEY.search(layer.extractfile(file).read()):
                        found.append(file.name)
    assert searched > 1000
    assert not found


@pytest.mark.parametrize("service", PORTS)
def test_it_exits_on_sigterm(service: str, run: Run) -> None:
    container = run(service, *data(service))
    # Alive, not ready: todolist has no upstreams here.
    ask = f"import urllib.request as r; r.urlopen('http://127.0.0.1:{PORTS[service]}/healthz')"
    probe = ["docker", "exec", container, "python", "-c", ask]
    wait_until(lambda: subprocess.run(probe, capture_output=True, check=False).returncode == 0, "it answers")
    started = time.monotonic()
    docker("stop", f"--time={GRACE}", container)
    assert time.monotonic() - started < GRACE
    assert inspect(container)["State"]["ExitCode"] == 0, docker("logs", container)
