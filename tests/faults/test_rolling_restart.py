"""Every process is replaced while people use the system, and nobody notices."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from deploy.local import proxy
from tests.conftest import ON_POSTGRESQL, NewDatabase
from tests.faults.conftest import Figure
from tests.faults.traffic import traffic
from tests.forking import Forked
from tests.support import Envoy, Service, running, running_envoy, wait_until

TIMES = 10
# Longer than Envoy takes to ask twice whether a process is ready.
DELAY = 0.5

Instances = dict[str, Service]


def in_pairs(shipped: str, first: dict[str, Service], second: dict[str, Service]) -> str:
    """Return the shipped clusters with two processes in each, which are asked whether they are ready.

    In a cluster the kubelet asks, and istiod tells.
    """
    clusters = yaml.safe_load(shipped)
    for cluster in clusters["resources"]:
        name = cluster["name"].partition("-")[0]
        cluster["load_assignment"]["endpoints"] = [
            {"lb_endpoints": [
                {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": each[name].port}}}}
                for each in (first, second)
            ]}
        ]  # fmt: skip
        cluster["health_checks"] = [
            {"timeout": "1s", "interval": "0.1s", "no_traffic_interval": "0.1s", "unhealthy_threshold": 2,
             "healthy_threshold": 1, "http_health_check": {"path": "/readyz"}}
        ]  # fmt: skip
        # By default Envoy waits a second between changes, and uses processes that are not ready if most are not.
        cluster["common_lb_config"] = {"update_merge_window": "0s", "healthy_panic_threshold": {"value": 0}}
    return yaml.safe_dump(clusters)


@pytest.fixture
def envoy(tmp_path: Path) -> Iterator[Envoy]:
    with running_envoy(tmp_path) as envoy:
        yield envoy


@pytest.fixture
def instances(new_database: NewDatabase, token_key: Path, tmp_path: Path, envoy: Envoy) -> Iterator[list[Instances]]:
    """Two of each service, by its name."""
    databases = {name: new_database() for name in ("user", "rule")}

    def start(name: str, **settings: str) -> Service:
        return Forked(name, tmp_path, SHUTDOWN_DELAY=str(DELAY), **settings)

    both = [
        {
            "todolist": start("todolist", USER_URL=envoy.user_url, RULE_URL=envoy.rule_url),
            "user": start("user", DATABASE_URL=databases["user"], TOKEN_KEY_FILE=str(token_key), VERSION=version),
            "rule": start("rule", DATABASE_URL=databases["rule"]),
        }
        for version in ("v1", "v2")
    ]
    with running(*both[0].values(), *both[1].values()):
        yield both


@ON_POSTGRESQL
def test_no_request_fails_while_every_process_is_replaced(
    instances: list[Instances], envoy: Envoy, tmp_path: Path, figure: Figure
) -> None:
    clusters = envoy.folder / "clusters.yaml"
    proxy.replace(clusters, in_pairs(clusters.read_text(), *instances))

    def are_healthy() -> bool:
        # The two processes of user are in both of its clusters.
        return httpx.get(f"{envoy.admin_url}/clusters", trust_env=False).text.count("health_flags::healthy") == 8

    wait_until(are_healthy, "all healthy")
    with traffic(tmp_path, envoy.url, people=8, rate=10) as seen:
        for _ in range(TIMES):
            for group in instances:
                wait_until(are_healthy, "all healthy")
                for service in group.values():
                    service.process.terminate()
                for service in group.values():
                    service.process.wait(20)
                    service.start()
                for service in group.values():
                    service.wait_ready()
    assert seen.failures == []
    assert seen.requests > 100
    figure(
        "A rolling restart of every process, two of each behind Envoy, fails no request",
        f"{TIMES} times, {seen.requests:,} requests, 0 failed",
    )
