"""Property-based: whatever the OpenAPI documents allow or forbid, no answer is a 5xx or undocumented."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ON_POSTGRESQL
from tests.support import Service

# A page beyond the window is a 422 that no schema of one parameter can tell of.
EXCLUDED = "positive_data_acceptance"


# The stricter of the two about text and numbers.
@ON_POSTGRESQL
@pytest.mark.parametrize("name", ["todolist", "user", "rule"])
def test_every_answer_is_documented(
    gateway: Service, users: dict[str, Service], rule: Service, name: str, tmp_path: Path
) -> None:
    service = {"todolist": gateway, "user": users["v1"], "rule": rule}[name]
    ended = subprocess.run(
        [
            Path(sys.executable).parent / "schemathesis", "run", f"{service.url}/openapi.json",
            "--max-examples=15", "--phases=examples,coverage,fuzzing", f"--exclude-checks={EXCLUDED}",
            # Not the guest, whose items other tests count.
            "--header=x-user-id: fuzzer", "--no-color",
        ],
        cwd=tmp_path, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert " generated, " in ended.stdout
