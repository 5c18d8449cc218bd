"""How `.venv` is created and filled, with pip and with uv, from an index of the test's own."""

import base64
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

WHEEL = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
# What `uv venv --seed` puts into an environment: as much of pip as the tests need, as uv compiles all of it each time.
PIP = {
    **dict.fromkeys(("pip/__init__.py", "pip/_internal/__init__.py", "pip/_internal/cli/__init__.py"), ""),
    "pip/__main__.py": "import pip._internal.cli.main\n",
    "pip-99.dist-info/entry_points.txt": "[console_scripts]\npip = pip:main\n",
}


class Index(http.server.SimpleHTTPRequestHandler):
    """A package index; it serves the index below /simple/ only."""

    def log_message(self, *_: object) -> None:
        pass


def publish(folder: Path, name: str, version: str, files: dict[str, str]) -> Path:
    wheel = folder / f"simple/{name}/{name}-{version}-py3-none-any.whl"
    wheel.parent.mkdir(parents=True)
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    with zipfile.ZipFile(wheel, "w") as archive:
        record = ""
        for path, text in {**files, f"{info}/METADATA": metadata, f"{info}/WHEEL": WHEEL}.items():
            archive.writestr(path, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record += f"{path},sha256={digest},{len(text)}\n"
        archive.writestr(f"{info}/RECORD", f"{record}{info}/RECORD,,\n")
    (wheel.parent / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>')
    return wheel


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Returns the index's address, and the line that pins its package."""
    folder = tmp_path_factory.mktemp("index")
    publish(folder, "pip", "99", PIP)
    # Before Python 3.12 these, too.
    for seed in ("setuptools", "wheel"):
        publish(folder, seed, "99", {f"{seed}.py": ""})
    wheel = publish(folder, "tiny", "1", {"tiny.py": ""})
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

    def with_uv(self, *, venv_only: bool = False) -> "Clone":
        """Give it uv, which is also the quicker of the two. venv_only: it fails to install."""
        uv = self.directory / "bin/uv"
        uv.unlink(missing_ok=True)
        check = '[ "$1" = venv ] || exit 2\n' if venv_only else ""
        uv.write_text(f'#!/bin/sh\n{check}exec {Path(sys.executable).parent / "uv"} "$@"\n')
        uv.chmod(0o755)
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


# Destinations for packages that a profile may set for other programs.
ELSEWHERE = {"PIP_USER": "1", "PIP_PREFIX": "elsewhere", "PIP_DRY_RUN": "1", "PIP_PYTHON": "/nowhere",
             "UV_SYSTEM_PYTHON": "1", "UV_PYTHON": "3.7", "VIRTUAL_ENV": "/nowhere"}  # fmt: skip


def installed_from(clone: Clone, index: str, tool: str) -> None:
    """Install from the index that pip's configuration names."""
    file = clone.directory / "pip.conf"
    file.write_text(f"[global]\nindex-url = {index}\nuser = true\n[install]\ntarget = elsewhere\n")
    ended = clone.install(PIP_CONFIG_FILE=str(file), **ELSEWHERE)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert clone.has_it()
    assert ended.stdout == (
        f"Installing 1 packages of requirements/traffic.txt into .venv with {tool}, once: "
        "19 MB to download, less what is cached\n"
    )


def test_pip_installs_from_its_configured_index_and_is_the_fallback_for_uv(
    clone: Clone, index: tuple[str, str]
) -> None:
    ended = clone.install(PIP_INDEX_URL=f"http://127.0.0.1:{free_port()}/simple", TYPED="traffic")
    assert ended.returncode != 0
    # What was typed, though another make runs the one that installs.
    assert "name a mirror: PIP_INDEX_URL=https://MIRROR/simple make traffic\n" in ended.stderr
    done = clone.directory / ".venv/traffic.done"
    assert not done.exists()
    installed_from(clone, index[0], "pip")

    # Where uv fails; on a terminal with progress.
    done.unlink()
    clone.with_uv(venv_only=True)
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


def test_a_folder_that_is_no_environment_is_kept(clone: Clone, index: tuple[str, str]) -> None:
    kept = clone.directory / ".venv/kept"
    kept.parent.mkdir()
    kept.write_text("mine")
    ended = clone.install(PIP_INDEX_URL=index[0])
    assert ended.stderr.splitlines()[0] == ".venv is there, and is no Python environment: mv .venv .venv.old"
    assert kept.read_text() == "mine"


def test_a_failure_of_venv_prints_its_output(tmp_path: Path, index: tuple[str, str]) -> None:
    """As on a disk without room."""
    clone = Clone(tmp_path, index[1])
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nif 'venv' in sys.orig_argv[:3]:\n"
        "    import venv\n    def fail(*_): raise OSError(28, 'No space left on device')\n"
        "    venv.EnvBuilder.setup_python = fail\n"
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
    if moment == "pip":
        clone.with_uv(venv_only=True)
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
        env=clone.environment(PYTHONPATH=str(tmp_path), UV_DEFAULT_INDEX=index[0]),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (130, "\nStopped: the next start continues from here\n")
    assert clone.with_uv().install(UV_DEFAULT_INDEX=index[0]).returncode == 0
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
    installed_from(clone.with_uv(), index[0], "uv")
    # One that is incomplete, or has lost its Python, does not work.
    monkeypatch.chdir(clone.directory)
    assert environment.works()
    for missing in ("pip", "python"):
        path = clone.directory / ".venv/bin" / missing
        path.rename(path.with_name("kept"))
        assert not environment.works()
        path.with_name("kept").rename(path)
    clone.directory = clone.directory.rename(tmp_path_factory.mktemp("other") / "somebody's 名字")
    ended = clone.install(UV_DEFAULT_INDEX=index[0])
    assert "belongs to another folder" in ended.stdout, ended.stderr
    assert clone.has_it()
    assert clone.install(PIP_INDEX_URL="http://127.0.0.1:9").stdout == ""
