"""The user service's accounts, profiles and tokens, through HTTP, on SQLite and on PostgreSQL."""

import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import argon2
import httpx
import jwt
import pytest
from sqlalchemy import text

from services.chassis.database.engine import DatabaseSettings, create_engines
from tests.conftest import ON_SQLITE, NewDatabase
from tests.forking import Forked
from tests.support import GUEST_NAMES, ROOT, Service, as_caller, running, wait_until

PASSWORD = "a good password"
PROFILE_FIELDS = {
    "name", "avatar", "userid", "email", "signature", "title", "group", "tags", "notifyCount", "unreadCount",
    "country", "geographic", "address", "phone", "access", "version",
}  # fmt: skip


@pytest.fixture
def user(users: dict[str, Service]) -> httpx.Client:
    return users["v1"].client


def register(client: httpx.Client, name: str, password: str = PASSWORD) -> httpx.Response:
    return client.post("/user/register", json={"userName": name, "password": password})


def log_in(client: httpx.Client, name: str, password: str = PASSWORD, **fields: str) -> httpx.Response:
    return client.post("/api/login/account", json={"userName": name, "password": password, **fields})


def claims(user: httpx.Client, token: str) -> dict:
    key = jwt.PyJWKSet.from_dict(user.get("/.well-known/jwks.json").json()).keys[0]
    return jwt.decode(token, key, algorithms=["EdDSA"], issuer="todolist-user", audience="todolist")


@ON_SQLITE
def test_the_guest_differs_by_version(users: dict[str, Service]) -> None:
    for version in ("v1", "v2"):
        answer = users[version].client.get("/user/guest")
        profile = answer.json()
        assert set(profile) == PROFILE_FIELDS
        assert (profile["name"], profile["userid"], profile["version"]) == (GUEST_NAMES[version], "guest", version)
        assert profile["avatar"] == f"/avatars/guest-{version}.svg"
        assert set(profile["geographic"]) == {"province", "city"}
        assert answer.headers["x-served-by"] == f"user/{version}@127.0.0.1:{users[version].port}"


def test_an_unknown_account_is_404(user: httpx.Client) -> None:
    for account in ("nobody", "0" * 32, "%00", "a" * 500):
        assert user.get(f"/user/{account}").status_code == 404


def test_register_then_log_in_at_the_other_version(users: dict[str, Service], unique: Callable[[str], str]) -> None:
    name = unique("alice")
    registered = register(users["v1"].client, name)
    assert registered.status_code == 201
    body = registered.json()
    assert (body["status"], body["type"], body["currentAuthority"]) == ("ok", "", "user")
    answer = log_in(users["v2"].client, name, type="account")
    assert answer.status_code == 200
    assert answer.json()["type"] == "account"
    both = [claims(users["v1"].client, token) for token in (body["token"], answer.json()["token"])]
    assert both[0]["sub"] == both[1]["sub"]
    assert both[1]["name"] == name
    assert both[1]["exp"] - both[1]["iat"] == 12 * 3600 == answer.json()["expiresIn"]
    profile = users["v2"].client.get(f"/user/{both[0]['sub']}").json()
    assert (profile["name"], profile["access"], profile["version"]) == (name, "user", "v2")


def test_a_name_is_the_same_in_every_spelling(users: dict[str, Service], unique: Callable[[str], str]) -> None:
    name = unique("Zoë 秦")
    clients = [users[version].client for version in ("v1", "v2")]
    assert register(clients[0], name).status_code == 201
    spellings = [name, name.upper(), name.lower(), name.replace("Z", "\uff3a"), name.replace("ë", "e\u0308")]
    assert {register(clients[1], spelling).status_code for spelling in (*spellings, f" {name} ")} == {409}
    tokens = [log_in(clients[1], spelling).json()["token"] for spelling in spellings]
    assert {claims(clients[0], token)["name"] for token in tokens} == {name}


CONFUSABLE = (
    "ADMIN", "аdmin", "Guest", "guest", "ＲＯＯＴ", "Administrator", "秦粤", "粤秦d", "alicе", "a\u200bb",
    "two  spaces", "❤❤❤", "\u202eabc", "x\u3164x", "\ufeffab", "\u05d0b",
)  # fmt: skip


@ON_SQLITE
def test_a_confusable_name_is_rejected(user: httpx.Client) -> None:
    for name in CONFUSABLE:
        answer = register(user, name)
        assert answer.status_code == 422, name
        assert [error["field"] for error in answer.json()["errors"]] == ["userName"]


def test_names_of_all_languages(user: httpx.Client, unique: Callable[[str], str]) -> None:
    for name in ("李雷", "Иван", "Zoë", "علي", "o'hara", "lesson-alice", "Ada 秦"):
        assert register(user, unique(name)).status_code == 201, name


def test_older_accounts_keep_their_names(new_database: NewDatabase, tmp_path: Path) -> None:
    """Those of a database from before names were compared in one form."""
    from alembic import command
    from alembic.config import Config

    address = new_database()
    engines = create_engines(DatabaseSettings(port=1, database_url=address))
    migrations = str(ROOT / "services/user/migrations")
    older = ["ADMIN", "Bob", "bob", "BOB", "Carol", "CAROL", "❤ emoji", "Guest"]
    # Quicker than the service's own.
    hasher = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    insert = "INSERT INTO accounts VALUES (:id, :name, :hash, 'user', '2026-01-01 00:00:00+00:00')"
    with engines[1].begin() as connection:
        command.upgrade(
            Config(config_args={"script_location": migrations}, attributes={"connection": connection}), "0001"
        )
        for number, name in enumerate(older):
            values = {"id": str(number), "name": name, "hash": hasher.hash(f"password {number}")}
            connection.execute(text(insert), values)
    for engine in engines:
        engine.dispose()

    def who(service: Service, name: str, number: int) -> str | None:
        answer = log_in(service.client, name, f"password {number}")
        return claims(service.client, answer.json()["token"])["name"] if answer.status_code == 200 else None

    with running(service := Forked("user", tmp_path, DATABASE_URL=address, ADMIN_PASSWORD="adminadmin")):
        assert [who(service, name, number) for number, name in enumerate(older)] == older
        # Another spelling is the account that is called so, else the oldest.
        assert (who(service, "boB", 2), who(service, "carol", 4)) == ("bob", "Carol")
        assert log_in(service.client, "admin", "adminadmin").json()["currentAuthority"] == "admin"
        assert log_in(service.client, "Admin", "adminadmin").json()["currentAuthority"] == "admin"
        assert log_in(service.client, "guest", "password 7").status_code == 401
        assert {register(service.client, name).status_code for name in ("bOB", "carol")} == {409}


INVALID = (
    ("a", PASSWORD, "userName"),
    ("   a   ", PASSWORD, "userName"),
    ("x" * 51, PASSWORD, "userName"),
    ("a\nb", PASSWORD, "userName"),
    ("a\0b", PASSWORD, "userName"),
    ("alice", "short", "password"),
    ("alice", "x" * 129, "password"),
    ("alice", 12345678, "password"),
    (None, PASSWORD, "userName"),
)


@ON_SQLITE
def test_an_invalid_registration_is_422_and_names_the_field(user: httpx.Client) -> None:
    for name, password, field in INVALID:
        answer = register(user, name, password)
        assert answer.status_code == 422, (name, password)
        assert [error["field"] for error in answer.json()["errors"]] == [field]
        assert str(password) not in answer.text


def test_a_wrong_name_or_password_is_401(user: httpx.Client) -> None:
    for name in ("nobody at all", "admin", "", "x" * 200, "a\0b"):
        answer = log_in(user, name, "not the password", type="account")
        assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json"), name
        assert answer.json().items() >= {"status": "error", "type": "account", "currentAuthority": "guest"}.items()


def test_the_11th_wrong_password_is_429_at_every_version(users: dict[str, Service], unique) -> None:
    """However the name is written, and also when all guesses come at once."""
    name = unique("Victim")
    register(users["v1"].client, name)
    spelled = [name, name.upper(), name.lower(), name.swapcase()]

    def guess(number: int) -> int:
        return log_in(users[f"v{number % 2 + 1}"].client, spelled[number % 4], "not the password").status_code

    with ThreadPoolExecutor(20) as threads:
        assert sorted(threads.map(guess, range(20))) == [401] * 10 + [429] * 10
    for user in users.values():
        # Also the correct password: otherwise an attacker would learn it.
        answer = log_in(user.client, name)
        assert answer.status_code == 429
        assert 0 < int(answer.headers["retry-after"]) <= 900


def test_an_attempt_without_a_slot_is_not_counted(tmp_path: Path) -> None:
    file = tmp_path / "user.db"
    service = Forked("user", tmp_path, DATABASE_URL=f"sqlite:///{file}", LOGIN_ATTEMPTS="1", DATABASE_TIMEOUT="30")
    with running(service), closing(sqlite3.connect(file)) as other, ThreadPoolExecutor(25) as threads:
        register(service.client, "alice")
        # While another program writes, requests keep their slots.
        other.execute("BEGIN IMMEDIATE")
        crowd = [threads.submit(log_in, service.client, f"crowd{number}", "wrong password") for number in range(25)]
        wait_until(lambda: any(each.done() for each in crowd), "no room")
        assert log_in(service.client, "alice").status_code == 503
        other.rollback()
        assert sorted(each.result().status_code for each in crowd) == [401] * 24 + [503]
        assert log_in(service.client, "alice").status_code == 200


def test_a_correct_password_resets_the_count(user: httpx.Client, unique: Callable[[str], str]) -> None:
    name = unique("forgetful")
    register(user, name)
    for wrong in (9, 2):
        assert [log_in(user, name, "not the password").status_code for _ in range(wrong)] == [401] * wrong
        assert log_in(user, name).status_code == 200


def test_the_limit_ends_with_its_window(new_database: NewDatabase, tmp_path: Path) -> None:
    service = Forked("user", tmp_path, DATABASE_URL=new_database(), LOGIN_ATTEMPTS="1", LOGIN_WINDOW="2")
    with running(service):
        register(service.client, "alice")
        assert log_in(service.client, "alice", "not the password").status_code == 401
        assert log_in(service.client, "alice").status_code == 429
        wait_until(lambda: log_in(service.client, "alice").status_code == 200, "the window has ended", 10)


def test_accounts_are_shown_to_administrators_only(user: httpx.Client, unique: Callable[[str], str]) -> None:
    member = claims(user, register(user, unique("member")).json()["token"])["sub"]
    admin = claims(user, log_in(user, "admin", "adminadmin").json()["token"])["sub"]
    assert user.get("/api/users").status_code == 401
    assert user.get("/api/users", headers=as_caller("nobody")).status_code == 401
    assert user.get("/api/users", headers=as_caller(member, "admin")).status_code == 403
    accounts = user.get("/api/users", headers=as_caller(admin)).json()
    assert all(set(account) == {"key", "name", "authority"} for account in accounts)
    assert {account["authority"] for account in accounts if account["name"] == "admin"} == {"admin"}
    assert "argon2" not in str(accounts)


def test_passwords_are_stored_as_argon2id_hashes_only(tmp_path: Path) -> None:
    path = tmp_path / "user.db"
    service = Forked("user", tmp_path, DATABASE_URL=f"sqlite:///{path}")
    with running(service):
        register(service.client, "alice", "correct horse battery")
    content = b"".join(file.read_bytes() for file in tmp_path.glob("user.db*")) + service.log.read_bytes()
    assert b"$argon2id$v=19$m=19456,t=2,p=1$" in content
    assert b"correct horse battery" not in content


def test_a_local_key_is_generated_once_and_kept(tmp_path: Path) -> None:
    """That only its owner may read it: tests/doctor/test_shells.py."""
    service = Forked("user", tmp_path)
    with running(service):
        first = service.client.get("/.well-known/jwks.json").json()
        service.stop()
        service.restart()
        assert service.client.get("/.well-known/jwks.json").json() == first
