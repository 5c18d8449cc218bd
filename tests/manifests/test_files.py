"""The files: complete, with a header, and without references to missing files."""

import re
from pathlib import Path

import pytest
import yaml

from tests.manifests.conftest import DEPLOY
from tests.support import ROOT

FOLDERS = ("base", "istio", "ambient", "knative", "options", "traffic", "install")
FILES = [file for folder in FOLDERS for file in sorted((DEPLOY / folder).rglob("*.yaml"))]
# A path in a comment: it has a slash or a suffix.
POINTER = re.compile(r"(?<![\w/.<>-])(?:\.\./)*[\w-]+(?:/[\w-]+)*\.(?:yaml|sh|py)\b|\.\./[\w./-]*\w")


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(DEPLOY)))
def test_a_file_has_a_header_and_refers_only_to_existing_files(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.startswith("# ")
    for comment in re.findall(r"#.*", text):
        for pointer in POINTER.findall(comment):
            assert (file.parent / pointer).exists() or (ROOT / pointer).exists(), comment


@pytest.mark.parametrize(
    "file", [f for f in FILES if f.name == "kustomization.yaml"], ids=lambda file: file.parent.name
)
def test_kustomizations_do_not_patch(file: Path) -> None:
    allowed = {"apiVersion", "kind", "namespace", "resources", "components", "labels", "configMapGenerator"}
    assert set(yaml.safe_load(file.read_text(encoding="utf-8"))) <= allowed
