"""The gateway with upstreams that are unavailable, slow or broken, and what it forwards to them."""

import base64
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.conftest import ON_SQLITE
from tests.forking import Forked
from tests.support import Service, free_port, running, running_envoy

PROPAGATED = {
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "tracestate": "vendor=1",
    "baggage": "shop=值",
    "x-request-id": "4711",
    "b3": "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
    "x-b3-traceid": "0af7651916cd43dd8448eb211c80319c",
    "x-b3-spanid": "b7ad6b7169203331",
    "x-b3-parentspanid": "0000000000000001",
    "x-b3-sampled": "1",
    "x-b3-flags": "0",
    "x-ot-span-context": "a;b;c",
}
PROFILE = b'{"name": "upstream", "userid": "guest"}'


def answer(body: bytes, head: bytes = b"200 OK", content_type: bytes = b"application/json") -> bytes:
    return b"HTTP/1.1 %s\r\ncontent-type: %s\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s" % (
        head, content_type, len(body), body,
    )  # fmt: skip


@contextmanager
def upstream(behave: Callable[[socket.socket, bytes], None]) -> Iterator[str]:
    """A TCP server that treats each connection as `behave` says."""
    server = socket.create_server(("127.0.0.1", 0))

    def treat(connection: socket.socket) -> None:
        with connection:
            behave(connection, connection.recv(65536))

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=treat, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


@contextmanager
def gateway(directory: Path, user: str, rule: str, **settings: str) -> Iterator[Service]:
    service = Forked("todolist", directory, USER_URL=user, RULE_URL=rule, **settings)
    with running(service):
        yield service


@contextmanager
def gateway_before(behave: Callable[[socket.socket, bytes], None], directory: Path) -> Iterator[Service]:
    """A gateway both of whose upstreams behave so."""
    with upstream(behave) as url, gateway(directory, url, url) as service:
        yield service


def recording(seen: list[bytes]) -> Callable[[socket.socket, bytes], None]:
    """Answer each request with a profile, and keep what was received."""

    def record(connection: socket.socket, request: bytes) -> None:
        seen.append(request)
        connection.sendall(answer(PROFILE))

    return record


def test_trace_headers_are_propagated_and_forged_ones_are_not(tmp_path: Path) -> None:
    seen: list[bytes] = []
    with gateway_before(recording(seen), tmp_path) as service:
        forged = {"x-user-id": "admin", "x-user-name": "admin", "end-user": "admin", "x-served-by": "forged"}
        sent = {name: value.encode() for name, value in {**PROPAGATED, **forged}.items()}
        for path in ("/api/currentUser", "/api/rule?current=1&name=%E7%89%9B"):
            assert service.client.get(path, headers=sent).status_code == 200
        service.client.post("/api/rule", json={"name": "x"}, headers=sent)
        rejected = service.client.get("/api/rule", headers={"baggage": b"a=\xe9"})
        assert (rejected.status_code, "UTF-8" in rejected.text) == (400, True)
    assert len(seen) == 3
    assert seen[1].startswith(b"GET /api/rule?current=1&name=%E7%89%9B HTTP/1.1\r\n")
    for request in seen:
        lines = [line.split(": ", 1) for line in request.split(b"\r\n\r\n")[0].decode().split("\r\n")[1:]]
        headers = {name.lower(): value for name, value in lines}
        assert PROPAGATED.items() <= headers.items()
        assert (headers["x-user-id"], headers["x-user-name"]) == ("guest", "guest")
        assert "end-user" not in headers
        assert "x-served-by" not in headers


def test_a_header_that_is_not_ascii_is_not_passed_back(tmp_path: Path) -> None:
    """As of an INSTANCE with such a name."""
    head = "200 OK\r\nx-served-by: user/v1@café\r\nretry-after: 值".encode()
    with gateway_before(lambda connection, _: connection.sendall(answer(PROFILE, head)), tmp_path) as service:
        got = service.client.get("/api/currentUser")
        assert (got.status_code, got.json()["name"]) == (200, "upstream")
        assert "desc" not in got.headers["server-timing"]
        assert "retry-after" not in got.headers


def test_the_body_of_an_options_request_is_neither_kept_nor_forwarded(tmp_path: Path) -> None:
    seen: list[bytes] = []
    allowed = b"HTTP/1.1 204 No Content\r\nallow: GET\r\nconnection: close\r\n\r\n"

    def allow(connection: socket.socket, request: bytes) -> None:
        seen.append(request)
        connection.sendall(allowed)

    with gateway_before(allow, tmp_path) as service:
        # Twice as much as any other request may have.
        got = service.client.request("OPTIONS", "/api/rule", content=b"x" * 128 * 1024)
        assert (got.status_code, got.headers["allow"]) == (204, "GET")
    (request,) = seen
    assert b"content-length" not in request.lower()
    assert b"xxx" not in request


def _silent(connection: socket.socket, _: bytes) -> None:
    connection.recv(1)


def _closes_mid_body(connection: socket.socket, _: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{")


BEHAVIOURS: dict[str, tuple[Callable[[socket.socket, bytes], None], int]] = {
    "silent": (_silent, 504),
    "closes mid-body": (_closes_mid_body, 502),
    "closes at once": (lambda _, __: None, 502),
    "no HTTP": (lambda connection, _: connection.sendall(b"\x00\xff garbage\r\n\r\n"), 502),
    "no JSON": (lambda connection, _: connection.sendall(answer(b"<p>", content_type=b"text/html")), 502),
    "no status": (lambda connection, _: connection.sendall(answer(PROFILE, b"999 X")), 502),
    "a proxy's 503": (lambda connection, _: connection.sendall(answer(b"no", b"503 X", b"text/plain")), 503),
    "a redirect": (
        lambda connection, _: connection.sendall(b"HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n"),
        502,
    ),
}


@ON_SQLITE
def test_a_broken_upstream_is_a_timely_problem_for_its_calls_only(tmp_path: Path, rule: Service) -> None:
    for name, (behave, status) in BEHAVIOURS.items():
        with upstream(behave) as url, gateway(tmp_path, url, rule.url, UPSTREAM_TIMEOUT="1") as service:
            started = time.monotonic()
            answer = service.client.get("/api/currentUser")
            assert time.monotonic() - started < 5, name
            assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), name
            assert answer.headers["server-timing"].startswith("user;dur=")
            assert service.client.get("/api/rule").status_code == 200
            assert service.client.get("/").status_code == 200


RESET = b"upstream connect error or disconnect/reset before headers. reset reason: "
REASONS = {
    b"no healthy upstream": 503,
    RESET + b"remote connection failure": 503,
    RESET + b"overflow": 503,
    RESET + b"connection termination": 502,
    b"out of order": 502,
}


def test_a_503_means_that_a_write_was_not_applied(tmp_path: Path) -> None:
    """A proxy also returns 503 when the service died after it had received the request."""
    reason = b""

    def refuse(connection: socket.socket, _: bytes) -> None:
        connection.sendall(answer(reason, b"503 X", b"text/plain"))

    with gateway_before(refuse, tmp_path) as service:
        for reason, status in REASONS.items():
            assert service.client.post("/api/rule", json={"name": "x"}).status_code == status, reason
            assert service.client.get("/api/rule").status_code == 503


def test_local_replies_of_envoy_show_whether_a_write_may_have_been_applied(tmp_path: Path) -> None:
    """Local replies: a rule that dies while it processes the request, and one that is unavailable."""
    with (
        upstream(lambda _, __: None) as url,
        running_envoy(tmp_path, RULE_V1_PORT=int(url.rpartition(":")[2])) as envoy,
        gateway(tmp_path, envoy.user_url, envoy.rule_url) as service,
    ):
        assert service.client.post("/api/rule", json={"name": "x"}).status_code == 502
    with running_envoy(tmp_path) as envoy, gateway(tmp_path, envoy.user_url, envoy.rule_url) as service:
        assert service.client.post("/api/rule", json={"name": "x"}).status_code == 503


@ON_SQLITE
def test_a_session_that_cannot_be_validated_is_not_a_guest(tmp_path: Path, rule: Service, member: httpx.Client) -> None:
    """A gateway that has no keys, or invalid ones, must not show the guest's list as one's own."""
    cookie = {"cookie": f"jwtToken={member.cookies['jwtToken']}"}
    with gateway(tmp_path, f"http://127.0.0.1:{free_port()}", rule.url) as service:
        assert service.client.get("/api/rule", headers=cookie).status_code == 503
        assert service.client.get("/api/rule").status_code == 200
    senseless = [b"5", b"[]", b'{"keys": 5}', b'{"keys": [5]}', b'{"keys": [{"kty": "OKP"}]}']
    bodies = iter(senseless)
    with (
        upstream(lambda connection, _: connection.sendall(answer(next(bodies)))) as url,
        gateway(tmp_path, url, rule.url) as service,
    ):
        for _ in senseless:
            assert service.client.get("/api/rule", headers=cookie).status_code == 502


@pytest.mark.parametrize("path", ["/api/login/account", "/user/register"])
def test_an_invalid_login_response_is_502(path: str, tmp_path: Path) -> None:
    senseless = [b'{"token": ', b'{"status": "ok"}', b"[]", b'{"token": 1, "expiresIn": 1}', b'{"token": "a"}']
    senseless += [b'{"token": "a", "expiresIn": "soon"}', b'{"token": "a", "expiresIn": 1, "device": null}', b'"\xff"']
    bodies = iter(senseless)
    with gateway_before(lambda connection, _: connection.sendall(answer(next(bodies))), tmp_path) as service:
        for _ in senseless:
            refused = service.client.post(path, json={"userName": "alice", "password": "a good password"})
            assert (refused.status_code, refused.headers["content-type"]) == (502, "application/problem+json")
            assert refused.headers["server-timing"].startswith("user;dur=")
            assert "set-cookie" not in refused.headers


def test_openapi_without_its_upstreams_is_their_error(tmp_path: Path) -> None:
    unavailable = answer(b'{"status": 503, "title": "Service Unavailable"}', b"503 X", b"application/problem+json")
    senseless = [b'{"openapi": ', b"[]", b"{}", b'{"paths": 1, "components": {"schemas": {}}}', b"[" * 50_000]
    given = unavailable
    with gateway_before(lambda connection, _: connection.sendall(given), tmp_path) as service:
        for status, answered in [(503, unavailable), *((502, answer(body)) for body in senseless)]:
            given = answered
            refused = service.client.get("/openapi.json")
            assert ("x-envoy-ratelimited" in refused.headers) == (status == 503)
            assert (refused.status_code, refused.headers["content-type"]) == (status, "application/problem+json")


# The public key of RFC 8037, appendix A.2.
OTHER_KEYS = (
    b'{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "other", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}'
)
KEY_SETS: dict[str, tuple[bytes, int]] = {
    "with other keys": (answer(OTHER_KEYS), 200),
    "that are no keys": (answer(b"{}"), 502),
    "that cannot be had": (answer(b"no", b"503 X", b"text/plain"), 503),
}


@pytest.mark.parametrize("kind", KEY_SETS)
def test_forged_tokens_do_not_overload_user(kind: str, tmp_path: Path) -> None:
    """300 tokens, each with another key id, while the keys are fetched, and when that has failed."""
    keys, status = KEY_SETS[kind]
    fetched = 0

    def behave(connection: socket.socket, request: bytes) -> None:
        nonlocal fetched
        if b"jwks.json" in request:
            fetched += 1
            connection.sendall(keys)
        else:
            connection.sendall(answer(PROFILE))

    def forged(number: int) -> str:
        header = json.dumps({"alg": "EdDSA", "kid": str(number)}).encode()
        return f"jwtToken={base64.urlsafe_b64encode(header).rstrip(b'=').decode()}.e30.AAAA"

    with gateway_before(behave, tmp_path) as service:
        started = time.monotonic()
        # The first one does not affect the others.
        spoiled = {"cookie": forged(-1), "baggage": b"\xff"}
        assert service.client.get("/api/currentUser", headers=spoiled).status_code in (400, status)

        def ask(number: int) -> int:
            return service.client.get("/api/currentUser", headers={"cookie": forged(number)}).status_code

        with ThreadPoolExecutor(32) as threads:
            statuses = set(threads.map(ask, range(300)))
    assert statuses <= {200, status}
    assert status in statuses
    assert fetched <= 1 + (time.monotonic() - started) // 10


def test_a_change_whose_connection_breaks_is_sent_once(tmp_path: Path) -> None:
    """On a connection that was used before: clients take that for one that was idle for too long, and try again."""
    seen: list[bytes] = []

    def break_the_second(connection: socket.socket, request: bytes) -> None:
        seen.append(request.split(b" ")[0])
        connection.sendall(answer(PROFILE).replace(b"connection: close", b"connection: keep-alive"))
        seen.append(connection.recv(65536).split(b" ")[0])

    for method in ("PUT", "DELETE", "POST"):
        seen.clear()
        with gateway_before(break_the_second, tmp_path) as service:
            assert service.client.get("/api/rule").status_code == 200
            assert service.client.request(method, "/api/rule", json={"key": "1"}).status_code == 502
        assert seen == [b"GET", method.encode()]
