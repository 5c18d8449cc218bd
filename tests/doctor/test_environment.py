"""How `.venv` is created and filled, with pip and with uv, from an index of the test's own."""

import base64
import ensurepip
import hashlib
import http.server
import os
import pty
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from deploy import environment
from tests.support import ROOT, free_port

FILES = {"tiny.py": "", "tiny-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1\n",
         "tiny-1.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"}  # fmt: skip


class Index(http.server.SimpleHTTPRequestHandler):
    """A package index that has one package; it serves the index below /simple/ only."""

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Returns the index's address, and the line that pins its package."""
    folder = tmp_path_factory.mktemp("index")
    wheel = folder / "simple/tiny/tiny-1-py3-none-any.whl"
    wheel.parent.mkdir(parents=True)
    with zipfile.ZipFile(wheel, "w") as archive:
        record = ""
        for name, text in FILES.items():
            archive.writestr(name, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record += f"{name},sha256={digest},{len(text)}\n"
        archive.writestr("tiny-1.dist-info/RECORD", f"{record}tiny-1.dist-info/RECORD,,\n")
    (wheel.parent / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>')
    # What `uv venv --seed` puts into an environment: the wheel that Python has of it.
    bundled = next((Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl"))
    (folder / "simple/pip").mkdir()
    shutil.copy(bundled, folder / "simple/pip")
    (folder / "simple/pip/index.html").write_text(f'<a href="{bundled.name}">{bundled.name}</a>')
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Index, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        yield f"http://127.0.0.1:{server.server_port}/simple", f"tiny==1 --hash=sha256:{digest}\n"
        server.shutdown()


class Clone:
    """A clone in which nothing was installed yet, whose requirements are that one package."""

    def __init__(self, directory: Path, requirement: str) -> None:
        self.directory = directory
        for part in ("Makefile", "deploy"):
            (directory / part).symlink_to(ROOT / part)
        (directory / "requirements").mkdir()
        (directory / "requirements/traffic.txt").write_text(requirement)
        (directory / "bin").mkdir()

    def with_uv(self) -> "Clone":
        """Give it uv, which is also the quicker of the two."""
        (self.directory / "bin/uv").symlink_to(Path(sys.executable).parent / "uv")
        return self

    def environment(self, **environment: str) -> dict[str, str]:
        """Return the variables: nothing of this machine's pip, and no uv but the clone's own."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_"))}
        path = [each for each in kept["PATH"].split(":") if not (Path(each) / "uv").exists()]
        own = {"PATH": ":".join([str(self.directory / "bin"), *path]), "HOME": str(self.directory),
               "UV_CACHE_DIR": str(self.directory / "cache"), "PIP_NO_CACHE_DIR": "1",
               "UV_HTTP_RETRIES": "0", "PIP_RETRIES": "0"}  # fmt: skip
        return {**kept, **own, **environment}

    def install(self, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", ".venv/traffic.done"], cwd=self.directory, env=self.environment(**environment),
            capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip

    def has_it(self) -> bool:
        """Say whether the package is in .venv, and nowhere else."""
        where = [path.relative_to(self.directory).parts[0] for path in self.directory.rglob("tiny.py")]
        return set(where) - {"cache"} == {".venv"}


@pytest.fixture
def clone(tmp_path: Path, index: tuple[str, str]) -> Clone:
    return Clone(tmp_path, index[1])


@pytest.mark.parametrize("tool", ["pip", "uv"])
def test_pips_configured_index_is_used_and_packages_go_into_venv(
    tool: str, clone: Clone, index: tuple[str, str]
) -> None:
    if tool == "uv":
        clone.with_uv()
    file = clone.directory / "pip.conf"
    file.write_text(f"[global]\nindex-url = {index[0]}\nuser = true\n[install]\ntarget = elsewhere\n")
    # Destinations for packages that a profile may set for other programs.
    elsewhere = {"PIP_USER": "1", "PIP_PREFIX": "elsewhere", "PIP_DRY_RUN": "1", "PIP_PYTHON": "/nowhere",
                 "UV_SYSTEM_PYTHON": "1", "UV_PYTHON": "3.7", "VIRTUAL_ENV": "/nowhere"}  # fmt: skip
    ended = clone.install(PIP_CONFIG_FILE=str(file), **elsewhere)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert clone.has_it()
    assert ended.stdout == (
        f"Installing 1 packages of requirements/traffic.txt into .venv with {tool}, once: "
        "19 MB to download, less what is cached\n"
    )


def test_pip_is_the_fallback_for_uv_and_shows_progress_on_a_terminal(clone: Clone, index: tuple[str, str]) -> None:
    (clone.directory / "bin/uv").write_text("#!/bin/sh\nexit 2\n")
    (clone.directory / "bin/uv").chmod(0o755)
    master, slave = pty.openpty()
    process = subprocess.Popen(
        ["make", ".venv/traffic.done"], cwd=clone.directory, env=clone.environment(PIP_INDEX_URL=index[0]),
        stdout=slave, stderr=slave,
    )  # fmt: skip
    os.close(slave)
    shown = b""
    # Once the other side is closed, Linux calls that an error.
    with suppress(OSError):
        while data := os.read(master, 4096):
            shown += data
    assert process.wait(10) == 0, shown
    assert b"uv failed: trying pip" in shown
    assert b"1 of 1: tiny==1" in shown
    assert clone.has_it()


def test_an_unreachable_index_suggests_a_mirror(clone: Clone) -> None:
    ended = clone.with_uv().install(PIP_INDEX_URL=f"http://127.0.0.1:{free_port()}/simple", TYPED="traffic")
    assert ended.returncode != 0
    # What was typed, though another make runs the one that installs.
    assert "name a mirror: PIP_INDEX_URL=https://MIRROR/simple make traffic\n" in ended.stderr
    assert not (clone.directory / ".venv/traffic.done").exists()


def test_a_folder_that_is_no_environment_is_kept(clone: Clone, index: tuple[str, str]) -> None:
    kept = clone.directory / ".venv/kept"
    kept.parent.mkdir()
    kept.write_text("mine")
    ended = clone.install(PIP_INDEX_URL=index[0])
    assert ended.stderr.splitlines()[0] == ".venv is there, and is no Python environment: mv .venv .venv.old"
    assert kept.read_text() == "mine"


def test_a_failure_of_venv_prints_its_output(tmp_path: Path, index: tuple[str, str]) -> None:
    """As on a disk without room: what venv itself writes last fails."""
    clone = Clone(tmp_path, index[1])
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nif 'venv' in sys.orig_argv[:3]:\n"
        "    import venv\n    def fail(*_): raise OSError(28, 'No space left on device')\n"
        "    venv.EnvBuilder.setup_scripts = fail\n"
    )
    ended = subprocess.run(
        [sys.executable, "-m", "deploy.environment"], cwd=tmp_path,
        env=clone.environment(PYTHONPATH=str(tmp_path)), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 1
    assert "No space left" in ended.stderr
    assert "python3-venv" not in ended.stderr
    assert not (tmp_path / ".venv").exists()


# What runs in the process that is interrupted. venv has removed what was there by then, and not yet written what marks
# an environment; pip does not catch the signal yet.
MOMENTS = {
    "venv": "if 'venv' in sys.orig_argv[:3]:\n    import venv\n    venv.EnvBuilder.create_configuration = interrupt\n",
    "pip": "if '--require-hashes' in sys.orig_argv:\n    class Finder:\n        def find_spec(name, *_):\n"
    "            if name == 'pip._internal.cli.main':\n                interrupt()\n"
    "    sys.meta_path.insert(0, Finder)\n",
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c_while_creating_the_environment_does_not_break_the_next_start(
    tmp_path: Path, index: tuple[str, str], moment: str
) -> None:
    clone = Clone(tmp_path, index[1])
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv/pyvenv.cfg").touch()
    (tmp_path / "sitecustomize.py").write_text(
        # A run in the background has the signal ignored.
        "import os, signal, sys, time\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "def interrupt(*_):\n    os.kill(os.getppid(), signal.SIGINT)\n    os.kill(os.getpid(), signal.SIGINT)\n"
        f"    time.sleep(60)\n{MOMENTS[moment]}"
    )
    ended = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m deploy.environment && {sys.executable} -m deploy.environment traffic"],
        cwd=tmp_path,
        env=clone.environment(PYTHONPATH=str(tmp_path), PIP_INDEX_URL=index[0]),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (130, "\nStopped: the next start continues from here\n")
    assert clone.with_uv().install(PIP_INDEX_URL=index[0]).returncode == 0
    assert clone.has_it()


def test_an_old_or_missing_python_is_one_line(tmp_path: Path, index: tuple[str, str]) -> None:
    clone = Clone(tmp_path, index[1])
    for name in ("sh", "bash", "env", "make", "git", "awk", "cat"):
        if found := shutil.which(name):
            (tmp_path / "bin" / name).symlink_to(found)
    ended = clone.install(PATH=str(tmp_path / "bin"))
    assert re.match(r"Python 3\.11 or newer is missing: install it \(Debian: apt install", ended.stderr)
    assert len(ended.stderr.splitlines()) == 2, ended.stderr


def test_a_broken_environment_is_created_again(
    clone: Clone, index: tuple[str, str], tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert clone.with_uv().install(PIP_INDEX_URL=index[0]).returncode == 0
    again = clone.install(PIP_INDEX_URL="http://127.0.0.1:9")
    assert (again.returncode, "Installing" in again.stdout) == (0, False)
    for python in (clone.directory / ".venv/bin").glob("python*"):
        python.unlink()
        python.symlink_to("/nowhere/python3")
    ended = clone.install(PIP_INDEX_URL=index[0])
    assert "has lost its Python: it is created again" in ended.stdout, ended.stderr
    assert clone.has_it()
    # Nor does one work that is half made.
    pip = clone.directory / ".venv/bin/pip"
    kept = pip.read_text()
    monkeypatch.chdir(clone.directory)
    assert environment.works()
    pip.unlink()
    assert not environment.works()
    pip.write_text(kept)
    clone.directory = clone.directory.rename(tmp_path_factory.mktemp("other") / "somebody's 名字")
    ended = clone.install(PIP_INDEX_URL=index[0])
    assert "belongs to another folder" in ended.stdout, ended.stderr
    assert clone.has_it()
    assert clone.install(PIP_INDEX_URL="http://127.0.0.1:9").stdout == ""
