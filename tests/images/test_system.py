"""The whole system as containers: the API contract, through HTTP."""

import math
import uuid

import httpx

from tests.images.conftest import compose
from tests.support import wait_until

REQUESTS = 400
# A correct split exceeds 4 standard deviations once in 16,000 runs.
DEVIATIONS = 4


def register(client: httpx.Client) -> str:
    name = f"somebody-{uuid.uuid4().hex[:8]}"
    client.cookies.clear()
    answer = client.post("/user/register", json={"userName": name, "password": "a long password"})
    assert answer.status_code == 201, answer.text
    return name


def test_the_page_is_served(system: httpx.Client) -> None:
    assert "<title>" in system.get("/").text


def test_both_versions_answer_in_equal_parts(system: httpx.Client) -> None:
    system.cookies.clear()
    seen = {"v1": 0, "v2": 0}
    for _ in range(REQUESTS):
        answer = system.get("/api/currentUser")
        assert answer.status_code == 200
        timing = answer.headers["server-timing"]
        (version,) = [version for version in seen if f"user/{version}@user-{version}" in timing]
        assert answer.json()["name"] == {"v1": "秦粤", "v2": "粤秦D"}[version]
        seen[version] += 1
    assert abs(seen["v1"] - REQUESTS / 2) < DEVIATIONS * math.sqrt(REQUESTS / 4)


def test_a_user_keeps_a_list(system: httpx.Client) -> None:
    name = register(system)
    # Signed by one version, accepted by both: they share the key.
    for _ in range(10):
        assert system.get("/api/currentUser").json()["name"] == name
    assert system.post("/api/rule", json={"name": "milk"}).status_code == 201
    assert [entry["name"] for entry in system.get("/api/rule").json()["data"]] == ["milk"]


def test_the_administrator_has_the_password_of_the_environment(system: httpx.Client) -> None:
    system.cookies.clear()
    login = {"userName": "admin", "password": "correct horse battery"}
    assert system.post("/api/login/account", json=login).json()["currentAuthority"] == "admin"
    assert system.get("/api/users").status_code == 200
    system.cookies.clear()


def test_a_write_outlives_the_database_server(system: httpx.Client) -> None:
    register(system)
    key = system.post("/api/rule", json={"name": "kept"}).json()["key"]
    compose("kill", "--signal=SIGKILL", "rule-database")
    answer = system.get("/api/rule")
    assert answer.status_code in {502, 503, 504}
    assert answer.headers["content-type"] == "application/problem+json"
    # Everything that does not need that database still works.
    assert system.get("/api/currentUser").status_code == 200
    compose("up", "--detach", "--no-build", "rule-database")
    wait_until(lambda: system.get("/api/rule").status_code == 200, "the database is used again", 30)
    assert [item["key"] for item in system.get("/api/rule").json()["data"]] == [key]
