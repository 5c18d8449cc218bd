"""The files: complete, with a header, and without references to missing files."""

import re

import yaml

from tests.manifests.conftest import DEPLOY
from tests.support import ROOT

FOLDERS = ("base", "istio", "ambient", "knative", "options", "traffic", "install")
# A path in a comment: it has a slash or a suffix.
POINTER = re.compile(r"(?<![\w/.<>-])(?:\.\./)*[\w-]+(?:/[\w-]+)*\.(?:yaml|sh|py)\b|\.\./[\w./-]*\w")


def test_a_file_has_a_header_refers_only_to_existing_files_and_patches_nothing() -> None:
    allowed = {"apiVersion", "kind", "namespace", "resources", "components", "labels", "configMapGenerator"}
    for file in (file for folder in FOLDERS for file in (DEPLOY / folder).rglob("*.yaml")):
        text = file.read_text(encoding="utf-8")
        assert text.startswith("# "), file
        for comment in re.findall(r"#.*", text):
            for pointer in POINTER.findall(comment):
                assert (file.parent / pointer).exists() or (ROOT / pointer).exists(), (file, comment)
        if file.name == "kustomization.yaml":
            assert set(yaml.safe_load(text)) <= allowed, file
