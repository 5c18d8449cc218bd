"""Every process is replaced while people use the system, and nobody notices."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import ON_POSTGRESQL, NewDatabase
from tests.faults.conftest import Figure
from tests.faults.traffic import traffic
from tests.forking import Forked
from tests.support import Service, free_port, running, running_envoy, wait_until

TIMES = 10
# Longer than Envoy takes to ask twice whether a process is ready.
DELAY = 0.5


@pytest.fixture
def ports() -> dict[str, int]:
    """The ports at which Envoy stands for the services, and that of its administration."""
    return {name: free_port() for name in ("PORT", "USER_PORT", "RULE_PORT", "ADMIN_PORT")}


@pytest.fixture
def instances(
    new_database: NewDatabase, token_key: Path, tmp_path: Path, ports: dict[str, int]
) -> Iterator[list[tuple[Service, ...]]]:
    """Two of each service."""
    databases = {name: new_database() for name in ("user", "rule")}
    urls = {f"{name}_URL": f"http://127.0.0.1:{ports[f'{name}_PORT']}" for name in ("USER", "RULE")}

    def start(name: str, **settings: str) -> Service:
        return Forked(name, tmp_path, SHUTDOWN_DELAY=str(DELAY), **settings)

    both = [
        (
            start("todolist", **urls),
            start("user", DATABASE_URL=databases["user"], TOKEN_KEY_FILE=str(token_key), VERSION=version),
            start("rule", DATABASE_URL=databases["rule"]),
        )
        for version in ("v1", "v2")
    ]
    with running(*both[0], *both[1]):
        yield both


@ON_POSTGRESQL
def test_no_request_fails_while_every_process_is_replaced(
    instances: list[tuple[Service, ...]], ports: dict[str, int], tmp_path: Path, figure: Figure
) -> None:
    own = {
        f"{each.name.upper()}_{number}_PORT": each.port
        for number, group in enumerate(instances, start=1)
        for each in group
    }
    envoy = running_envoy(tmp_path, Path(__file__).with_name("envoy.yaml"), ports["PORT"], {**ports, **own})
    admin = httpx.Client(base_url=f"http://127.0.0.1:{ports['ADMIN_PORT']}", trust_env=False)
    with admin, envoy as url, traffic(tmp_path, url, people=8, rate=10) as seen:
        for _ in range(TIMES):
            for group in instances:
                wait_until(lambda: admin.get("/clusters").text.count("health_flags::healthy") == 6, "all healthy")
                for service in group:
                    service.process.terminate()
                for service in group:
                    service.process.wait(20)
                    service.start()
                for service in group:
                    service.wait_ready()
    assert seen.failures == []
    assert seen.requests > 100
    figure(
        "A rolling restart of every process, two of each behind Envoy, fails no request",
        f"{TIMES} times, {seen.requests:,} requests, 0 failed",
    )
