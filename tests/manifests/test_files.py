"""The files as people read them: whole, with a beginning that says what they are, and no pointer into the void."""

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
def test_a_file_says_what_it_is_and_names_only_files_that_exist(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.startswith("# ")
    for comment in re.findall(r"#.*", text):
        for pointer in POINTER.findall(comment):
            assert (file.parent / pointer).exists() or (ROOT / pointer).exists(), comment


@pytest.mark.parametrize(
    "file", [f for f in FILES if f.name == "kustomization.yaml"], ids=lambda file: file.parent.name
)
def test_a_kustomization_bends_nothing(file: Path) -> None:
    allowed = {"apiVersion", "kind", "namespace", "resources", "components", "labels", "configMapGenerator"}
    assert set(yaml.safe_load(file.read_text(encoding="utf-8"))) <= allowed
