"""What the images and the dev container rely on, as far as it can be tested without Docker."""

import json
import re
import shutil
import socket
import subprocess
from pathlib import Path

import httpx
import pytest
import yaml

from tests.forking import Forked
from tests.support import ROOT, Service, running

HOST = re.search(r"HOST=(\S+)", (ROOT / "services/rule/Dockerfile").read_text())[1]


def test_the_images_listen_on_ipv4_and_on_ipv6(tmp_path: Path) -> None:
    """IPv6-only pods, and IPv4-only ones: the kubelet and the sidecar call the pod's own address."""
    with running(service := Forked("rule", tmp_path, HOST=HOST)):
        for address in ("127.0.0.1", *(["[::1]"] if socket.has_dualstack_ipv6() else [])):
            assert httpx.get(f"http://{address}:{service.port}/healthz", trust_env=False).status_code == 200


def test_the_images_listen_where_there_is_no_ipv6(tmp_path: Path) -> None:
    """As with ipv6.disable=1, where the kernel makes no such socket."""
    (tmp_path / "sitecustomize.py").write_text(
        "import socket\nreal = socket.socket.__init__\n"
        "def init(self, family=-1, *args, **kwargs):\n"
        "    if family == socket.AF_INET6: raise OSError(97, 'Address family not supported by protocol')\n"
        "    real(self, family, *args, **kwargs)\n"
        "socket.socket.__init__ = init\n"
    )
    with running(service := Service("rule", tmp_path, HOST=HOST, PYTHONPATH=f"{tmp_path}:{ROOT}")):
        assert service.client.get("/healthz").status_code == 200


@pytest.mark.parametrize("service", ["todolist", "user", "rule"])
def test_a_clone_of_any_umask_makes_an_image_that_its_user_can_read(service: str, tmp_path: Path) -> None:
    """What the Dockerfile does with /app, done here."""
    dockerfile = (ROOT / f"services/{service}/Dockerfile").read_text()
    app = tmp_path / "app"
    for source, target in re.findall(r"^COPY (services\S+) /app/(\S+)", dockerfile, re.MULTILINE):
        copy = app / target / Path(source).name if target.endswith("/") else app / target
        copy.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (ROOT / source).is_dir() else shutil.copy)(ROOT / source, copy)
    (change,) = re.findall(r"^RUN (chmod .* /app) &&", dockerfile, re.MULTILINE)
    for umask in (0o077, 0o000):
        for path in (app, *app.rglob("*")):
            path.chmod((0o777 if path.is_dir() else 0o666) & ~umask)
        subprocess.run(change.replace("/app", str(app)), shell=True, check=True)
        assert {path.stat().st_mode & 0o777 for path in (app, *app.rglob("*"))} == {0o755, 0o644}


def test_compose_reads_its_files_with_selinux_and_strict_modes() -> None:
    services = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"]
    volumes = [(name, volume) for name, each in services.items() for volume in each.get("volumes", [])]
    bound = [(name, volume) for name, volume in volumes if volume[0] in "./"]
    assert bound
    for name, volume in bound:
        assert "z" in volume.rpartition(":")[2].split(","), volume
        # Root without this capability reads no file of another user that is not for all.
        assert "DAC_OVERRIDE" in services[name]["cap_add"]


def test_the_dev_container_commands_exist_and_the_page_is_forwarded() -> None:
    text = (ROOT / ".devcontainer/devcontainer.json").read_text()
    container = json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE))
    assert 3001 in container["forwardPorts"]
    assert "/" in container["image"]
    for command in container["postCreateCommand"].split(" && "):
        words = command.split()
        done = subprocess.run([words[0], "--dry-run", *words[1:]], cwd=ROOT, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
