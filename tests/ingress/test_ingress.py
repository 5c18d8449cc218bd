"""The ingress: an Envoy as in `make run`, in front of a scripted gateway."""

import http.client
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
import yaml

from deploy.local import files, proxy
from tests.support import ROOT, Envoy, is_problem, running_envoy, wait_until

# The limits of clusters.yaml for lists: concurrent and pending requests.
UNDER_WAY, WAITING = 64, 512
POST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 99\r\n\r\n"


class Gateway(ThreadingHTTPServer):
    """Returns 200, except for some paths.

    /busy: 503, as the services do; /gone: 503, as a sidecar whose process has died; /dead: closes the connection;
    /api/rule: responds when the test releases it.
    """

    request_queue_size = 128
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.seen: list[tuple[str, str]] = []
        self.headers = Message()
        self.released = threading.Event()
        self.keeps_alive = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Do not log connections that the ingress closes."""


class Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body in one packet: else the second waits for 40 ms.
    wbufsize = -1
    server: Gateway

    def answer(self) -> None:
        self.server.seen.append((self.command, self.path))
        self.server.headers = self.headers
        self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path == "/dead":
            self.close_connection = True
            return
        if self.path == "/api/rule":
            self.server.released.wait(30)
        self.send_response(503 if self.path in ("/busy", "/gone") else 200)
        if self.path == "/busy":
            self.send_header("retry-after", "7")
            self.send_header("x-envoy-ratelimited", "true")
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")
        self.close_connection = not self.server.keeps_alive

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer  # noqa: N815

    def log_message(self, *arguments: object) -> None:
        """Do not log."""


@contextmanager
def serving() -> Iterator[Gateway]:
    with Gateway() as gateway:
        threading.Thread(target=gateway.serve_forever, args=(0.01,), daemon=True).start()
        yield gateway
        gateway.released.set()
        gateway.shutdown()


@pytest.fixture(scope="module")
def shared() -> Iterator[Gateway]:
    with serving() as gateway:
        yield gateway


@pytest.fixture(scope="module")
def envoy(shared: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Envoy]:
    ports = dict.fromkeys(proxy.SERVICE_PORTS, shared.server_port)
    with running_envoy(tmp_path_factory.mktemp("ingress"), **ports) as envoy:
        yield envoy


@pytest.fixture
def gateway(shared: Gateway) -> Gateway:
    shared.seen.clear()
    return shared


@pytest.fixture
def client(envoy: Envoy) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=envoy.url, trust_env=False, timeout=30) as client:
        yield client


# # What is forwarded


def test_client_headers_cannot_control_the_proxy(client: httpx.Client, gateway: Gateway) -> None:
    forged = (
        "x-user-id", "x-user-name", "x-known-device", "end-user", "x-forwarded-host", "x-envoy-retry-on",
        "x-envoy-upstream-rq-timeout-ms", "x-envoy-original-path", "x-envoy-decorator-operation",
    )  # fmt: skip
    lies = {"x-forwarded-for": "8.8.8.8", "x-forwarded-proto": "https", "x-kept": "1"}
    assert client.get("/", headers={**dict.fromkeys(forged, "1"), **lies}).status_code == 200
    seen = gateway.headers
    assert [name for name in forged if name in seen] == []
    assert (seen["x-forwarded-proto"], seen["x-kept"]) == ("http", "1")
    assert "8.8.8.8" not in seen["x-forwarded-for"]


def test_trace_headers_are_kept(client: httpx.Client, gateway: Gateway) -> None:
    trace = {
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "vendor=1",
        "baggage": "shop=3", "x-request-id": "4711", "b3": "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
    }  # fmt: skip
    client.get("/", headers=trace)
    assert {name: gateway.headers[name] for name in trace} == trace
    client.get("/")
    assert len(gateway.headers["x-request-id"]) == 36
    assert "traceparent" not in gateway.headers


@pytest.mark.parametrize(
    ("path", "passed_on"),
    [("/api/a/../b", "/api/b"), ("//api///b", "/api/b"), ("/%61pi/%2e%2e/b", "/b"), ("/api/b?x=a%2Fb//c", None)],
)
def test_paths_are_normalized(client: httpx.Client, gateway: Gateway, path: str, passed_on: str | None) -> None:
    client.get(httpx.URL(client.base_url, raw_path=path.encode()))
    assert gateway.seen == [("GET", passed_on or path)]


@pytest.mark.parametrize("path", ["/api%2Fb", "/api%5Cb"])
def test_an_escaped_slash_is_redirected_to_a_slash(client: httpx.Client, gateway: Gateway, path: str) -> None:
    answer = client.get(httpx.URL(client.base_url, raw_path=path.encode()))
    assert (answer.status_code, answer.headers["location"]) == (307, "/api/b")
    assert not gateway.seen


# # What is rejected


def test_headers_of_more_than_16_kib_are_431(client: httpx.Client, gateway: Gateway) -> None:
    assert client.get("/", headers={"x-long": "x" * 15_000}).status_code == 200
    assert is_problem(client.get("/", headers={"x-long": "x" * 17_000}), 431)
    assert is_problem(client.get("/", headers=[("x-many", "x")] * 101), 431)
    assert len(gateway.seen) == 1


def test_a_body_of_more_than_64_kib_is_413(client: httpx.Client, gateway: Gateway) -> None:
    assert client.post("/", content=b"x" * 65_536).status_code == 200
    assert is_problem(client.post("/", content=b"x" * 65_537), 413)
    assert is_problem(client.post("/", content=(b"x" * 10_000 for _ in range(7))), 413)
    assert len(gateway.seen) == 1


def test_a_header_with_an_underscore_is_400(client: httpx.Client, gateway: Gateway) -> None:
    assert is_problem(client.get("/", headers={"x_user_id": "1"}), 400)
    assert not gateway.seen


def test_too_many_requests_are_503_at_once(client: httpx.Client, envoy: Envoy, gateway: Gateway) -> None:
    with ExitStack() as connections:
        held = []

        def ask(times: int) -> None:
            for _ in range(times):
                connection = socket.create_connection(("127.0.0.1", envoy.ports["PORT"]), timeout=30)
                held.append(connections.enter_context(connection))
                connection.sendall(b"GET /api/rule HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")

        ask(UNDER_WAY)
        wait_until(lambda: len(gateway.seen) == UNDER_WAY, "as many under way as may be")
        ask(WAITING)
        wait_until(lambda: envoy.counter("cluster.todolist.upstream_rq_pending_active") == WAITING, "the others wait")
        started = time.monotonic()
        for method in ("GET", "POST"):
            refused = client.request(method, "/api/rule")
            assert is_problem(refused, 503)
            assert refused.headers["retry-after"] == "1"
            # By this the page knows that the write was not applied.
            assert refused.headers["x-envoy-overloaded"] == "true"
        # Requests without a list are not affected.
        assert client.get("/").status_code == 200
        assert time.monotonic() - started < 2
        gateway.released.set()
        # All waiting requests are served.
        assert Counter(connection.recv(12) for connection in held) == {b"HTTP/1.1 200": len(held)}
    gateway.released.clear()


def test_incomplete_requests_are_408_and_idle_connections_are_closed(gateway: Gateway, tmp_path: Path) -> None:
    sooner = {"request_timeout: 10s": "request_timeout: 1s", "  idle_timeout: 60s": "  idle_timeout: 1s"}

    def last_words(data: bytes) -> bytes:
        """Send this, then a byte now and then, and return the response until the connection is closed."""
        received = b""
        with socket.create_connection(("127.0.0.1", envoy.ports["PORT"]), timeout=0.1) as connection:
            connection.sendall(data)
            end = time.monotonic() + 10
            while time.monotonic() < end:
                try:
                    if not (more := connection.recv(4096)):
                        return received
                    received += more
                except TimeoutError:
                    if data and not received:
                        connection.sendall(b"x")
                except ConnectionError:
                    return received
        raise AssertionError("not closed")

    with running_envoy(tmp_path, sooner, TODOLIST_V1_PORT=gateway.server_port) as envoy:
        data = (b"GET / HTTP/1.1\r\nhost: x\r\nx-slow: ", POST, b"")
        with ThreadPoolExecutor() as threads:
            headers, body, nothing = threads.map(last_words, data)
    for answer in (headers, body):
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"application/problem+json" in answer
    assert nothing == b""
    # And none of them has occupied a connection to the gateway.
    assert gateway.seen == []


# # Retries


# In a cluster retries are configured by headers: those of deploy/istio/ingress.yaml, beside Istio's default for all
# methods.
ON_ISTIO = {"retry_on": "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes", "num_retries": 2}


def as_on_istio(file: str, name: str) -> dict[str, str]:
    """Return the replacements that turn the laptop's routes into those that istiod generates from an HTTPRoute."""
    documents = yaml.safe_load_all((ROOT / "deploy" / file).read_text())
    (http_route,) = [each for each in documents if each["kind"] == "HTTPRoute" and each["metadata"]["name"] == name]
    routes = []
    for rule in http_route["spec"]["rules"]:
        modifiers = [found["requestHeaderModifier"]["set"] for found in rule.get("filters", [])]
        for match in rule.get("matches", [{}]):
            method = {"name": ":method", "string_match": {"exact": match.get("method")}}
            routes.append({
                "match": {
                    "prefix": "/", **({"headers": [method]} if match else {}),
                    "query_parameters": [
                        {"name": parameter["name"], "string_match": {"safe_regex": {"regex": parameter["value"]}}}
                        for parameter in match.get("queryParams", [])
                    ],
                },
                "route": {"cluster": "todolist", "timeout": "15s", "retry_policy": ON_ISTIO},
                "request_headers_to_add": [
                    {"header": {"key": header["name"], "value": header["value"]},
                     "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
                    for headers in modifiers for header in headers
                ],
            })  # fmt: skip
    template = (proxy.TEMPLATES / "ingress-routes.yaml").read_text()
    shipped = template[template.index("        routes:\n") :]
    return {shipped: f"        routes: {json.dumps(routes)}\n"}


# A file, and the name of an HTTPRoute in it.
WITH_RETRIES = [
    ("istio/ingress.yaml", "todolist"),
    ("ambient/todolist.yaml", "todolist"),
    ("ambient/user.yaml", "user"),
    ("ambient/rule.yaml", "rule"),
]


@pytest.fixture(scope="module", params=["ingress", "user", "rule", *WITH_RETRIES], ids=str)
def address(
    request: pytest.FixtureRequest, envoy: Envoy, shared: Gateway, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Each proxy in turn: those of the laptop, the ingress on Istio, and the waypoints."""
    of_the_laptop = {"ingress": envoy.url, "user": envoy.user_url, "rule": envoy.rule_url}
    if request.param in of_the_laptop:
        yield of_the_laptop[request.param]
        return
    instead = as_on_istio(*request.param)
    with running_envoy(tmp_path_factory.mktemp("istio"), instead, TODOLIST_V1_PORT=shared.server_port) as found:
        yield found.url


@pytest.mark.parametrize(("path", "times"), [("/dead", 3), ("/gone", 3), ("/busy", 1)])
def test_reads_are_retried_when_a_process_has_died_and_writes_are_not(
    address: str, path: str, times: int, gateway: Gateway
) -> None:
    """Also when more fail at once than Envoy retries by default, which are three."""
    with httpx.Client(base_url=address, trust_env=False, timeout=30) as client, ThreadPoolExecutor(10) as threads:
        for method, expected in (("GET", times), ("HEAD", times), ("POST", 1), ("PUT", 1), ("DELETE", 1)):
            gateway.seen.clear()
            answers = [*threads.map(client.request, [method] * 10, [path] * 10)]
            assert {answer.status_code for answer in answers} == {503}
            assert gateway.seen == [(method, path)] * expected * 10


@pytest.mark.parametrize(("file", "name"), [*WITH_RETRIES, ("ambient/ingress.yaml", "ingress")])
def test_a_write_is_not_retried_after_a_connection_failure(file: str, name: str, tmp_path: Path) -> None:
    """Istio's default would retry a connection failure twice, whatever the method."""
    with running_envoy(tmp_path, as_on_istio(file, name)) as envoy:
        for method, retries in (("POST", 0), ("PUT", 0), ("DELETE", 0), ("PATCH", 0), ("GET", 2)):
            assert httpx.request(method, envoy.url, trust_env=False).status_code == 503
            assert envoy.counter("cluster.todolist.upstream_rq_retry") == retries, method


@pytest.mark.parametrize(
    ("request_text", "status", "way_out"),
    [
        (b"GET / HTTP/1.0\r\nhost: x\r\n\r\n", 426, "use HTTP/1.1"),
        (b"GET / HTTP/1.1\r\nhost: x\r\ncookie: %s\r\n\r\n" % (b"x" * 20_000), 431, "delete this site's cookies"),
        (b"GET /?name=%s HTTP/1.1\r\nhost: x\r\n\r\n" % "牛奶".encode(), 400, "percent-encoded"),
    ],
    ids=["HTTP/1.0", "large cookies", "not percent-encoded"],
)
def test_rejections_have_a_hint(request_text: bytes, status: int, way_out: str, envoy: Envoy) -> None:
    with socket.create_connection(("127.0.0.1", envoy.ports["PORT"]), timeout=10) as connection:
        connection.sendall(request_text)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        problem = json.loads(answer.read())
    assert (answer.status, problem["status"], problem["type"]) == (status, status, "about:blank")
    assert way_out in problem["detail"]


def test_a_deliberate_503_of_the_gateway_is_not_retried(client: httpx.Client) -> None:
    dead = client.post("/dead")
    assert is_problem(dead, 503)
    assert "may have been changed" in dead.json()["detail"]
    assert "retry-after" not in dead.headers
    answer = client.get("/busy")
    assert (answer.status_code, answer.text, answer.headers["retry-after"]) == (503, "{}", "7")
    # Repeatedly: as the only process it is never ejected.
    assert [client.get("/busy").text for _ in range(10)] == ["{}"] * 10
    assert client.get("/").status_code == 200


def test_connection_failures_eject_a_process_and_5xx_do_not(tmp_path: Path) -> None:
    """Two processes of todolist: both relay a 503 of user, then one dies."""
    ejections = "cluster.todolist.outlier_detection.ejections_enforced_total"
    endpoint = "            - endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {} }} }} }}\n"
    with serving() as well, serving() as ill:
        one, other = endpoint.format(well.server_port), endpoint.format(ill.server_port)
        with running_envoy(tmp_path, {one: one + other}, TODOLIST_V1_PORT=well.server_port) as envoy:
            for path in ("/busy", "/gone"):
                for _ in range(20):
                    assert httpx.post(envoy.url + path, trust_env=False).status_code == 503
            assert {*well.seen} == {*ill.seen} == {("POST", "/busy"), ("POST", "/gone")}
            assert envoy.counter(ejections) == 0
            ill.keeps_alive = False
            ill.shutdown()
            ill.server_close()

            def ejected() -> int:
                httpx.post(envoy.url, trust_env=False)
                return envoy.counter(ejections)

            wait_until(ejected, "the dead one is ejected")
            assert [httpx.post(envoy.url, trust_env=False).status_code for _ in range(10)] == [200] * 10


def test_an_unavailable_gateway_is_503_with_retry_after(tmp_path: Path) -> None:
    with running_envoy(tmp_path) as envoy:
        answer = httpx.get(envoy.url, trust_env=False)
    assert is_problem(answer, 503)
    assert answer.headers["retry-after"] == "1"


# What changes while it runs


def test_a_replaced_file_is_applied_at_once_and_no_request_fails(gateway: Gateway, tmp_path: Path) -> None:
    changes = (
        ("ingress-routes.yaml", "virtual_hosts:", "response_headers_to_add: [{ header: { key: x-on, value: y } }]\n    "
         "virtual_hosts:"),
        ("clusters.yaml", "connect_timeout: 2s", "connect_timeout: 3s"),
        ("listeners.yaml", "request_timeout: 10s", "request_timeout: 9s"),
    )  # fmt: skip
    statuses: Counter[int] = Counter()
    ended = threading.Event()

    with running_envoy(tmp_path, TODOLIST_V1_PORT=gateway.server_port) as envoy:

        def ask() -> None:
            with httpx.Client(base_url=envoy.url, trust_env=False) as client:
                while not ended.is_set():
                    statuses[client.get("/").status_code] += 1

        def dump() -> str:
            return httpx.get(f"{envoy.admin_url}/config_dump", trust_env=False).text

        with ThreadPoolExecutor(4) as threads:
            asking = [threads.submit(ask) for _ in range(4)]
            for name, text, other in changes:
                path = envoy.folder / name
                before, shipped, seen = dump(), path.read_text(), statuses[200]
                for version in (shipped.replace(text, other), shipped):
                    files.replace(path, version)
                    wait_until(lambda version=before: dump() != version, f"{name} is applied", 5)
                    before = dump()
                wait_until(lambda seen=seen: statuses[200] > seen + 50, "requests")
            ended.set()
        for each in asking:
            each.result()
    assert set(statuses) == {200}
