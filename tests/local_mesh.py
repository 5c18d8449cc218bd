"""A run of the local mesh for tests: `make run` in a folder of its own."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil

from deploy.local import proxy
from tests.support import ROOT, free_port, wait_until

NAMES = (*proxy.ENVOY_PORTS, *proxy.SERVICE_PORTS)
DIRECTLY = (sys.executable, "-m", "deploy.local")
# What `make` needs of the repository, for a run with data of its own.
PARTS = (".venv", "Makefile", "deploy", "lessons", "requirements", "riddles", "services")


def heed_sigint() -> None:
    """Restore SIGINT in a child: if its parent runs in the background, it inherits that SIGINT is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def link_parts(directory: Path) -> None:
    """Put what `make` needs into a folder."""
    for part in PARTS:
        if not (directory / part).exists():
            (directory / part).symlink_to(ROOT / part)


def make(directory: Path, *arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *arguments], cwd=directory, env=env, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def module_of(process: psutil.Process) -> str:
    """Return the last argument of a process, "" if it has ended meanwhile."""
    try:
        return "".join(process.cmdline()[-1:])
    except psutil.NoSuchProcess:
        return ""


class Mesh:
    """A run of the local mesh in a folder of its own."""

    def __init__(
        self,
        directory: Path,
        *command: str,
        prepare: Callable[[], None] = heed_sigint,
        start_new_session: bool = False,
        **environment: str,
    ) -> None:
        """prepare: what the process inherits, made in it before it runs."""
        link_parts(directory)
        self.directory = directory
        self.ports = {name: free_port() for name in NAMES}
        self.url = f"http://127.0.0.1:{self.ports['PORT']}"
        self.output = directory / "output"
        settings = {name: str(port) for name, port in self.ports.items()}
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                command or DIRECTLY,
                cwd=directory, stdout=output, stderr=output,
                env={**inherited, "PYTHONUNBUFFERED": "1", **settings, **environment},
                start_new_session=start_new_session,
                preexec_fn=prepare,  # noqa: PLW1509 - nothing else runs yet
            )  # fmt: skip

    def text(self) -> str:
        return self.output.read_text()

    def configuration(self) -> dict[str, str]:
        """Return Envoy's configuration, by file."""
        return {path.name: path.read_text() for path in (self.directory / "data/envoy").iterdir() if path.is_file()}

    def wait_ready(self) -> "Mesh":
        wait_until(lambda: "Open http" in self.text() or self.process.poll() is not None, "the mesh is ready")
        assert self.process.poll() is None, self.text()
        return self

    def processes(self, *modules: str) -> list[psutil.Process]:
        """Return all processes, or those that run one of these modules."""
        found = psutil.Process(self.process.pid).children(recursive=True)
        return [process for process in found if module_of(process) in modules] if modules else found

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)

    def versions(self, count: int) -> Counter[str]:
        """Return how many of so many guests were answered by each version of user."""
        with httpx.Client(base_url=self.url, trust_env=False) as client:
            return Counter(client.get("/api/currentUser").json()["version"] for _ in range(count))
