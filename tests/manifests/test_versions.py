"""Third-party versions are in one file, and `make versions` changes them."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

from tests.support import ROOT

FILE = "deploy/versions.mk"
VERSIONS = dict(re.findall(r"^export (\w+) \?= v?(\S+)$", (ROOT / FILE).read_text(), re.MULTILINE))
OURS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
# A name and a version after it, whichever it is.
NAMED = re.compile(r"(?:Istio|Knative|Knative Serving|Kubernetes|Gateway API)(?:</?\w+>)? v?\d+\.\d\d")


def texts() -> dict[str, str]:
    """Return the source files: tracked by git, or not ignored."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    found = {}
    for name in names:
        # Lock files have versions of their own.
        if name.startswith("requirements/") or not (ROOT / name).is_file():
            continue
        try:
            found[name] = (ROOT / name).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
    return found


def test_no_other_file_contains_a_version() -> None:
    exact = "|".join(re.escape(version) for version in VERSIONS.values() if version.count(".") > 1)
    pattern = re.compile(rf"{NAMED.pattern}|(?<![\d.])v?(?:{exact})(?![\d.])")
    found = {name: pattern.findall(text) for name, text in texts().items() if name != FILE}
    assert {name: what for name, what in found.items() if what} == {}


def test_our_own_version_is_in_one_file() -> None:
    pattern = re.compile(rf'^\W*version\W{{1,4}}"?{re.escape(OURS)}"?$', re.MULTILINE)
    assert [name for name, text in texts().items() if pattern.search(text)] == ["pyproject.toml"]


def test_one_command_changes_them(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy", ignore=shutil.ignore_patterns("__pycache__"))
    before = (tmp_path / FILE).read_text()
    command = ["make", "--file=deploy/cluster.mk", "SHELL=/bin/bash", "versions"]
    moved = [*command, "ISTIO_VERSION=9.8.7", "KUBERNETES_OLDEST=9.9"]
    # `make test` exports its own versions.
    environment = {name: value for name, value in os.environ.items() if name not in VERSIONS}
    subprocess.run(moved, cwd=tmp_path, env=environment, check=True, capture_output=True)
    after = (tmp_path / FILE).read_text()
    assert after == before.replace(VERSIONS["ISTIO_VERSION"], "9.8.7").replace(
        f"OLDEST ?= {VERSIONS['KUBERNETES_OLDEST']}", "OLDEST ?= 9.9"
    )
    shown = subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True).stdout
    assert "ISTIO_VERSION 9.8.7\n" in shown
    assert sorted(path.name for path in (tmp_path / "deploy").glob("versions*")) == ["versions.mk"]
