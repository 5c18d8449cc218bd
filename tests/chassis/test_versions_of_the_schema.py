"""An image that is rolled back, and two versions of one beside each other: the schema may be newer than the program."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from tests.conftest import ON_POSTGRESQL, NewDatabase
from tests.forking import Forked
from tests.support import ROOT, Service, running

MIGRATION = '''"""A column more."""

import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{newest}"


def upgrade() -> None:
    """Add it."""
    op.add_column("{table}", sa.Column("added", sa.Integer))
'''


def newer_image(directory: Path, name: str, table: str) -> Path:
    """Return a copy of the services, in which one has a migration more."""
    shutil.copytree(ROOT / "services", directory / "services", ignore=shutil.ignore_patterns("__pycache__"))
    revisions = directory / "services" / name / "migrations/versions"
    newest = max(path.name.split("_")[0] for path in revisions.glob("[0-9]*.py"))
    (revisions / "9999_more.py").write_text(MIGRATION.format(newest=newest, table=table))
    return directory


def works(service: Service) -> bool:
    if service.name == "rule":
        item = service.client.post("/api/rule", json={"name": "milk"}).json()
        return item in service.client.get("/api/rule").json()["data"]
    account = {"userName": uuid4().hex, "password": "a good password"}
    assert service.client.post("/user/register", json=account).status_code == 201
    return service.client.post("/api/login/account", json=account).status_code == 200


@ON_POSTGRESQL
def test_a_column_gets_another_type_while_the_service_runs(new_database: NewDatabase, tmp_path: Path) -> None:
    """PostgreSQL then rejects the statements that are prepared, after five uses each, in every open connection."""
    database = new_database()
    with (
        running(rule := Forked("rule", tmp_path, DATABASE_URL=database)),
        psycopg.connect(database, autocommit=True) as connection,
        ThreadPoolExecutor(8) as threads,
    ):

        def use() -> bool:
            searches = threads.map(lambda _: rule.client.get("/api/rule?name=milk").status_code, range(40))
            return all([*threads.map(lambda _: works(rule), range(40))]) and set(searches) == {200}

        assert use()
        connection.execute('ALTER TABLE items ALTER COLUMN "desc" TYPE varchar(4000)')
        assert use()


# The services and the kinds of database differ independently.
@pytest.mark.parametrize(
    ("new_database", "name", "table"),
    [("postgresql", "rule", "items"), ("sqlite", "user", "accounts")],
    indirect=["new_database"],
)
def test_old_and_new_serve_on_one_database(new_database: NewDatabase, name: str, table: str, tmp_path: Path) -> None:
    database, image = new_database(), newer_image(tmp_path / "image", name, table)
    with running(old := Forked(name, tmp_path, DATABASE_URL=database)):
        assert works(old)
        with running(new := Service(name, tmp_path, DATABASE_URL=database, PYTHONPATH=str(image))):
            assert "Running upgrade" in new.log.read_text()
            # A canary.
            assert works(new)
            assert works(old)
        # A roll-back.
        old.kill()
        old.restart()
        assert works(old)
    assert old.log.read_text().count("The schema of the database has revision 9999") == 1
    assert "cannot be prepared" not in old.log.read_text()
