"""Every service as a process: settings, readiness, shutdown, durability, logs."""

import json
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest

from tests.conftest import NewDatabase
from tests.forking import Forked
from tests.support import ROOT, Service, answers, as_caller, free_port, is_problem, running, wait_until

SERVICES = ("todolist", "user", "rule")


def run(name: str, directory: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"services.{name}"],
        env={"PYTHONPATH": str(ROOT), "PORT": str(free_port()), **environment},
        cwd=directory, capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("rule", {"DATABASE_URL": "mysql://x/y", "LOG_LEVEL": "LOUD", "PORT": "80000", "DATABASE_TIMEOUT": "inf"}),
        ("user", {"DATABASE_URL": "postgresql://localhost", "VERSION": "v3", "TOKEN_LIFETIME": "-1", "INSTANCE": "你"}),
        ("user", {"NOTICE_LIFETIME": "1e12", "LOGIN_WINDOW": "1e300", "TOKEN_LIFETIME": "inf"}),
        ("user", {"TOKEN_KEY_FILE": "/nowhere/key.pem"}),
        ("user", {"TOKEN_KEY_FILE": "/etc/hostname"}),
        (
            "todolist",
            {"INSTANCE": "a\nb: c", "UPSTREAM_TIMEOUT": "inf", "USER_URL": "localhost", "TRUSTED_ORIGINS": "todo.ex"},
        ),
    ],
)
def test_each_invalid_setting_is_one_line_that_names_it(name: str, settings: dict[str, str], tmp_path: Path) -> None:
    ended = run(name, tmp_path, **settings)
    assert ended.returncode in (1, 2)
    assert sorted(line.partition(": ")[0] for line in ended.stderr.splitlines()) == sorted(settings)


def test_a_setting_that_only_the_start_can_check_is_one_line_too(tmp_path: Path) -> None:
    garbage = tmp_path / "rule.db"
    garbage.write_bytes(b"garbage" * 1000)
    with socket.create_server(("127.0.0.1", 0)) as other:
        for name, value, named in (
            ("DATABASE_URL", f"sqlite:///{garbage}", garbage),
            ("DATABASE_URL", f"sqlite:///{garbage}/rule.db", garbage),
            ("PORT", str(other.getsockname()[1]), other.getsockname()[1]),
            ("K_SINK", "ftp://broker/", "http"),
        ):
            ended = run("rule", tmp_path, **{name: value})
            assert (ended.returncode, ended.stderr.count("\n")) == (1, 1), value
            assert ended.stderr.startswith(f"{name}: ")
            assert str(named) in ended.stderr


@pytest.fixture(params=SERVICES, scope="module")
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(each := Forked(request.param, tmp_path_factory.mktemp(request.param))):
        yield each


def test_health_metrics_and_headers(service: Service) -> None:
    for path in ("/healthz", "/readyz"):
        answer = service.client.get(path)
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert answer.headers["x-served-by"] == f"{service.name}/v1@127.0.0.1:{service.port}"
    assert answer.headers["cache-control"] == "no-store"
    for number in range(10):
        service.client.get(f"/api/{number}")
        service.client.request(f"ODD{number}", "/healthz")
    metrics = service.client.get("/metrics").text
    assert 'http_request_duration_seconds_count{method="GET",route="/healthz",status="200"} 1.0' in metrics
    assert 'http_request_duration_seconds_count{method="GET",route="other",status="404"} 10.0' in metrics
    assert "ODD" not in metrics
    assert "process_resident_memory_bytes" in metrics
    # At least uvicorn and the request itself.
    assert 2 <= float(re.search(r"^asyncio_tasks (.+)$", metrics, re.MULTILINE)[1]) < 10


def test_errors_are_problems(service: Service) -> None:
    missing = service.client.get("/api/nothing", headers={"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"})
    assert missing.headers["content-type"] == "application/problem+json"
    assert missing.json() == {
        "type": "about:blank", "title": "Not Found", "status": 404,
        "detail": missing.json()["detail"], "traceId": "a" * 32,
    }  # fmt: skip
    wrong = service.client.post("/healthz", json={})
    assert is_problem(wrong, 405)
    assert wrong.headers["allow"] == "GET, HEAD, OPTIONS"
    options = service.client.options("/healthz")
    assert (options.status_code, options.headers["allow"]) == (204, "GET, HEAD, OPTIONS")
    for path in ("/healthz", "/readyz", "/metrics"):
        head = service.client.head(path)
        assert (head.status_code, head.content) == (200, b"")


def test_a_failure_of_a_route_is_a_500_problem_and_in_the_log(tmp_path: Path) -> None:
    with running(rule := Forked("rule", tmp_path)):
        with closing(sqlite3.connect(tmp_path / "data/rule.db", isolation_level=None)) as database:
            database.execute("UPDATE items SET status = 9")
        failed = rule.client.get("/api/rule")
    assert is_problem(failed, 500)
    assert failed.json()["detail"] == "The service failed; the log has the reason."
    assert "GET /api/rule failed" in rule.log.read_text()


def test_a_running_request_finishes_after_sigterm(tmp_path: Path) -> None:
    """A slow upstream delays the gateway's request; no new connection is accepted, and the response still arrives."""
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        url = f"http://127.0.0.1:{upstream.getsockname()[1]}"
        gateway = Service("todolist", tmp_path, USER_URL=url)
        with running(gateway):
            received: list[httpx.Response] = []
            caller = threading.Thread(
                target=lambda: received.append(httpx.get(f"{gateway.url}/api/currentUser", timeout=20))
            )
            caller.start()
            connection, _ = upstream.accept()
            connection.recv(4096)
            gateway.process.send_signal(signal.SIGTERM)
            wait_until(lambda: not gateway.is_ready(), "not ready")
            assert gateway.process.poll() is None
            body = b'{"name": "late"}'
            connection.sendall(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
            )
            caller.join()
            assert received[0].json() == {"name": "late"}
            assert gateway.process.wait(10) == 0


def test_sigterm_during_the_start_exits(tmp_path: Path) -> None:
    # Python then logs its imports, so that the signal arrives during one.
    service = Service("user", tmp_path, PYTHONPROFILEIMPORTTIME="1")
    wait_until(lambda: "pydantic" in service.log.read_text() or service.process.poll() is not None, "it is importing")
    assert service.stop() == 0
    assert '"message"' not in service.log.read_text()


def test_replicas_that_start_at_once_migrate_once_and_lose_nothing_by_kill_9(
    new_database: NewDatabase, tmp_path: Path
) -> None:
    url, owner = new_database(), as_caller("writer")
    replicas = [Forked("rule", tmp_path, DATABASE_URL=url) for _ in range(3)]
    with running(*replicas):
        assert {replica.client.get("/api/rule").json()["total"] for replica in replicas} == {5}
        keys = set()
        for replica in replicas[:2]:
            keys.add(replica.client.post("/api/rule", json={"name": "milk"}, headers=owner).json()["key"])
            replica.kill()
            replica.restart()
        page = replicas[0].client.get("/api/rule", headers=owner).json()
        assert {item["key"] for item in page["data"]} == keys
    upgrades = sum(replica.log.read_text().count("Running upgrade  -> 0001") for replica in replicas)
    assert upgrades == 1


def test_a_failed_migration_releases_its_lock_and_is_retried(tmp_path: Path) -> None:
    file = tmp_path / "rule.db"
    with closing(sqlite3.connect(file)) as other:
        other.execute("CREATE TABLE items (id)")
    service = Forked("rule", tmp_path, DATABASE_URL=f"sqlite:///{file}")
    try:
        wait_until(lambda: service.log.exists() and "items already exists" in service.log.read_text(), "it failed")
        with closing(sqlite3.connect(file, timeout=2)) as other:
            other.execute("DROP TABLE items")
        wait_until(service.is_ready, "ready")
    finally:
        service.kill()


def test_the_newest_revision_is_that_of_the_last_file() -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    for name in ("user", "rule"):
        folder = ROOT / "services" / name / "migrations"
        config = Config()
        config.set_main_option("script_location", str(folder))
        assert ScriptDirectory.from_config(config).get_current_head() == max(
            path.name.split("_")[0] for path in (folder / "versions").glob("[0-9]*.py")
        )


def test_logs_are_json_with_the_trace_id(tmp_path: Path) -> None:
    service = Forked("rule", tmp_path, ACCESS_LOG="true")
    with running(service):
        service.client.get("/api/rule", headers={"b3": f"{'c' * 32}-{'d' * 16}-1"})
    lines = [json.loads(line) for line in service.log.read_text().splitlines()]
    (access,) = [line for line in lines if "/api/rule" in line["message"]]
    assert access["traceId"] == "c" * 32
    assert (access["service"], access["level"]) == ("rule", "info")
    assert datetime.fromisoformat(access["time"]).utcoffset() == timedelta(0)


def test_a_service_without_its_database_lives_and_is_not_ready(tmp_path: Path) -> None:
    address = f"postgresql://x:y@127.0.0.1:{free_port()}/rule"
    service = Service("rule", tmp_path, DATABASE_URL=address, DATABASE_TIMEOUT="1")
    try:
        wait_until(lambda: answers(f"{service.url}/healthz"), "the process lives")
        assert service.client.get("/readyz").status_code == 503
        answer = service.client.get("/api/rule")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        # Prevents retries of a deliberate 503: tests/ingress.
        assert answer.headers["x-envoy-ratelimited"] == "true"
        assert "y@" not in answer.text + service.log.read_text()
        assert service.client.post("/api/rule", json={"name": "x"}).status_code == 503
        assert service.stop() == 0
    finally:
        service.kill()
