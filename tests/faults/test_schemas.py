"""Schemathesis with all its checks on each OpenAPI document: every response is documented."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ON_POSTGRESQL
from tests.faults.conftest import Figure, is_named
from tests.support import Service

# What no schema can tell of: a page beyond the window; of a parameter that is given several times the last one counts,
# and an empty one counts as absent; a name of white space or control characters, which is a 422, and one that only
# white space around it makes too long, which is none.
CONFIGURATION = """
# An operation that only ever refused was not tested.
[warnings]
fail-on = ["missing_auth", "missing_test_data"]

# Its ids are random, and so those of nobody.
[[operations]]
include-name = "GET /user/{id}"
warnings = false

[[operations]]
include-name = "GET /api/rule"
checks.positive_data_acceptance.expected-statuses = ["2xx", "422"]
checks.negative_data_rejection.expected-statuses = ["2xx", "4xx"]

[[operations]]
include-name = ["POST /api/rule", "PUT /api/rule", "POST /user/register"]
checks.positive_data_acceptance.expected-statuses = ["2xx", "404", "409", "422"]
checks.negative_data_rejection.expected-statuses = ["2xx", "4xx"]

# A type that is not known may have any data.
[[operations]]
include-name = "POST /events"
checks.positive_data_acceptance.expected-statuses = ["2xx", "400"]
checks.negative_data_rejection.expected-statuses = ["2xx", "400"]
"""

pytestmark = pytest.mark.quick


# The stricter of the two about text and numbers.
@ON_POSTGRESQL
@pytest.mark.parametrize("name", ["todolist", "user", "rule"])
def test_every_answer_is_documented(
    gateway: Service, users: dict[str, Service], rule: Service, name: str, tmp_path: Path, figure: Figure,
    pytestconfig: pytest.Config,
) -> None:  # fmt: skip
    service = {"todolist": gateway, "user": users["v1"], "rule": rule}[name]
    admin = gateway.client.post("/api/login/account", json={"userName": "admin", "password": "adminadmin"})
    admin_id = gateway.client.get("/api/currentUser").json()["userid"]
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION)
    examples = 20 if is_named(pytestconfig) else 5
    ended = subprocess.run(
        [
            Path(sys.executable).parent / "schemathesis", "run", f"{service.url}/openapi.json", "--checks=all",
            "--phases=examples,coverage,fuzzing", f"--max-examples={examples}", "--no-color",
            # The first is for the gateway, the second for the services that it tells who calls.
            f"--header=cookie: jwtToken={admin.cookies['jwtToken']}", f"--header=x-user-id: {admin_id}",
        ],
        cwd=tmp_path, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    calls = re.search(r"(\d+) generated, \1 passed", ended.stdout).group(1)
    figure(f"{name} answers as its OpenAPI document says", f"{calls} generated calls, 0 failures")
