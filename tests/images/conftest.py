"""The images, run for real; `make test-images` starts these tests, and needs Docker with Compose.

DOCKER_FLAGS says what a build here needs beyond the defaults, as for `make build`.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support import ROOT, free_port

REGISTRY = "dev.local"
TAG = "test"
PORTS = {"todolist": 3001, "user": 3002, "rule": 3000}
ENVIRONMENT = {**os.environ, "REGISTRY": REGISTRY, "TAG": TAG}
# As a cluster would: nothing to write to, no privilege.
LOCKED_DOWN = ["--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"]


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Leave these tests out of a run that does not name them: they build images."""
    return None if any("images" in argument for argument in config.args) else True


def docker(*arguments: str, check: bool = True) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert not check or done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr}"
    return done.stdout.strip()


def compose(*arguments: str, check: bool = True) -> str:
    return docker("compose", "--file=deploy/compose.yaml", "--project-name=todolist-test", *arguments, check=check)


def image(service: str) -> str:
    return f"{REGISTRY}/{service}:{TAG}"


def inspect(thing: str) -> Any:
    return json.loads(docker("inspect", thing))[0]


@pytest.fixture(scope="session", autouse=True)
def built() -> None:
    os.chdir(ROOT)
    done = subprocess.run(["make", "build"], capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.fixture(scope="session")
def system() -> Iterator[httpx.Client]:
    """Everything on one network with PostgreSQL and an Envoy that splits the calls to user."""
    port = free_port()
    ENVIRONMENT.update(PORT=str(port), ADMIN_PASSWORD="correct horse battery")
    compose("up", "--detach", "--wait", "--no-build", "--quiet-pull")
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
            yield client
    finally:
        print(compose("logs", "--tail=20", check=False))
        compose("down", "--volumes", "--timeout=10")
