"""Every process is replaced under load, and no request fails."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from deploy.local import files
from tests.conftest import ON_POSTGRESQL, NewDatabase
from tests.faults.conftest import Figure
from tests.faults.traffic import traffic
from tests.forking import Forked
from tests.support import Envoy, Service, running, running_envoy, wait_until

TIMES = 10

Instances = dict[str, Service]


def with_endpoints(shipped: str, *groups: Instances) -> str:
    """Return the shipped clusters, each with the process of its service in each of the groups."""
    clusters = yaml.safe_load(shipped)
    for cluster in clusters["resources"]:
        name = cluster["name"].partition("-")[0]
        cluster["load_assignment"]["endpoints"] = [
            {"lb_endpoints": [
                {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": each[name].port}}}}
                for each in groups
            ]}
        ]  # fmt: skip
        # By default Envoy waits a second between changes.
        cluster["common_lb_config"] = {"update_merge_window": "0s"}
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
        return Forked(name, tmp_path, **settings)

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
    shipped = clusters.read_text()

    def send_requests_to(*groups: Instances) -> None:
        """As with istiod: a stopping pod leaves the endpoints, and SIGTERM follows after preStop."""
        files.replace(clusters, with_endpoints(shipped, *groups))
        ports = {service.port for group in groups for service in group.values()}

        def known() -> set[int]:
            text = httpx.get(f"{envoy.admin_url}/clusters", trust_env=False).text
            return {
                int(port) for port in re.findall(r"^(?:todolist|user-v\d|rule)::127.0.0.1:(\d+)::", text, re.MULTILINE)
            }

        wait_until(lambda: known() == ports, "Envoy knows who is there")

    send_requests_to(*instances)
    with traffic(tmp_path, envoy.url, people=8, rate=10) as seen:
        for _ in range(TIMES):
            for group in instances:
                send_requests_to(*(other for other in instances if other is not group))
                for service in group.values():
                    service.process.terminate()
                for service in group.values():
                    service.process.wait(20)
                    service.start()
                for service in group.values():
                    service.wait_ready()
                send_requests_to(*instances)
    assert seen.failures == []
    assert seen.requests > 100
    figure(
        "A rolling restart of every process, two of each behind Envoy, fails no request",
        f"{TIMES} times, {seen.requests:,} requests, 0 failed",
    )
