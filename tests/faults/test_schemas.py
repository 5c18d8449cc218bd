"""Schemathesis at full length: every check and every phase, sequences of calls included, on each OpenAPI document."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ON_POSTGRESQL
from tests.faults.conftest import Figure
from tests.support import Service

# It takes only an address for what a DELETE deletes; ours names its keys in the body. test_model.py checks the same.
EXCLUDED = "ensure_resource_availability"
# What no schema can tell of: a page beyond the window; a name of white space or control characters, which is a 422, and
# one that only white space around it makes too long, which is none.
CONFIGURATION = """
# An operation that only ever refused was not tested.
[warnings]
fail-on = ["missing_auth", "missing_test_data"]

# For user, which the gateway tells who calls; the gateway itself drops it.
[[operations]]
include-name = "GET /api/users"
headers.x-user-id = "{admin_id}"

[[operations]]
include-name = "GET /api/rule"
checks.positive_data_acceptance.expected-statuses = ["2xx", "422"]

[[operations]]
include-name = ["POST /api/rule", "PUT /api/rule", "POST /user/register"]
checks.positive_data_acceptance.expected-statuses = ["2xx", "404", "409", "422"]
checks.negative_data_rejection.expected-statuses = ["2xx", "4xx"]
"""


# The stricter of the two about text and numbers.
@ON_POSTGRESQL
@pytest.mark.parametrize("name", ["todolist", "user", "rule"])
def test_every_answer_is_documented(
    gateway: Service, users: dict[str, Service], rule: Service, name: str, tmp_path: Path, figure: Figure
) -> None:
    service = {"todolist": gateway, "user": users["v1"], "rule": rule}[name]
    admin = gateway.client.post("/api/login/account", json={"userName": "admin", "password": "adminadmin"})
    admin_id = gateway.client.get("/api/currentUser").json()["userid"]
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION.format(admin_id=admin_id))
    ended = subprocess.run(
        [
            Path(sys.executable).parent / "schemathesis", "run", f"{service.url}/openapi.json", "--checks=all",
            f"--exclude-checks={EXCLUDED}",
            "--phases=examples,coverage,fuzzing,stateful", "--max-examples=20", "--no-color",
            f"--header=cookie: jwtToken={admin.cookies['jwtToken']}",
        ],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    links = int(re.search(r"API Links: +(\d+) covered", ended.stdout).group(1))
    assert links
    calls = re.search(r"(\d+) generated, \1 passed", ended.stdout).group(1)
    figure(f"{name} answers as its OpenAPI document says", f"{calls} generated calls, along {links} links, 0 failures")
