"""The example in CONTRIBUTING.md, "a new field": its patches apply, and then items have a due date."""

import re
import shutil
import subprocess
from pathlib import Path

from tests.support import ROOT, Service, running


def test_an_item_gets_a_due_date(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "services", tmp_path / "services", ignore=shutil.ignore_patterns("__pycache__"))
    patches = re.findall(r"^```diff\n(.*?)^```$", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL | re.MULTILINE)
    assert len(patches) == 2
    for patch in patches:
        command = ["git", "apply"]
        applied = subprocess.run(command, cwd=tmp_path, input=patch, capture_output=True, text=True, check=False)
        assert applied.returncode == 0, applied.stderr

    with running(rule := Service("rule", tmp_path, PYTHONPATH=str(tmp_path))):
        created = rule.client.post("/api/rule", json={"name": "milk", "dueDate": "2026-12-24"}).json()
        assert created["dueDate"] == "2026-12-24"
        changed = rule.client.put("/api/rule", json={"key": created["key"], "dueDate": "2026-12-31"}).json()
        assert changed["dueDate"] == "2026-12-31"
        assert rule.client.post("/api/rule", json={"name": "milk", "dueDate": "soon"}).status_code == 422
        dates = {item["name"]: item["dueDate"] for item in rule.client.get("/api/rule").json()["data"]}
        # The demonstration list was there before, and has none.
        assert dates.pop("milk") == "2026-12-31"
        assert set(dates.values()) == {None}
