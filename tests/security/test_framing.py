"""Requests whose end can be read in two ways: refused, or read in the one way that the standard says (RFC 9112)."""

import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.conftest import ON_SQLITE
from tests.support import ROOT, Service, free_port, running_envoy

pytestmark = ON_SQLITE

BODY = b'{"name": "x"}'
CHUNKED = b"d\r\n%s\r\n0\r\n\r\n" % BODY
# What a reader finds behind the request that ends earlier than another reader thinks.
HIDDEN = b"GET /api/hidden HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
REFUSED = [400]
# The body is no registration, and the hidden request is one of its own.
TWO_REQUESTS = [422, 404]
ONE_REQUEST = [422]


def post(headers: bytes, body: bytes) -> bytes:
    head = b"POST /user/register HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    return head + headers + b"\r\n\r\n" + body


def chunked(body: bytes) -> bytes:
    return post(b"transfer-encoding: chunked", body + HIDDEN)


LENGTH = b"content-length: 13"
PLAIN = post(LENGTH, BODY + HIDDEN)

# The bytes, and the statuses of the answers.
SHAPES: dict[str, tuple[bytes, list[int]]] = {
    "a length": (PLAIN, TWO_REQUESTS),
    "chunks": (chunked(CHUNKED), TWO_REQUESTS),
    "a length and chunks": (post(b"content-length: 4\r\ntransfer-encoding: chunked", CHUNKED + HIDDEN), REFUSED),
    "chunks and a length": (post(b"transfer-encoding: chunked\r\ncontent-length: 4", CHUNKED + HIDDEN), REFUSED),
    "two lengths": (post(LENGTH + b"\r\ncontent-length: 0", BODY + HIDDEN), REFUSED),
    "the same length twice": (post(LENGTH + b"\r\n" + LENGTH, BODY + HIDDEN), REFUSED),
    "a list of lengths": (post(b"content-length: 13, 13", BODY + HIDDEN), REFUSED),
    "a length with a sign": (post(b"content-length: +13", BODY + HIDDEN), REFUSED),
    "a hexadecimal length": (post(b"content-length: 0xd", BODY + HIDDEN), REFUSED),
    "a negative length": (post(b"content-length: -1", BODY + HIDDEN), REFUSED),
    "an endless length": (post(b"content-length: 99999999999999999999", BODY + HIDDEN), REFUSED),
    "an empty length": (post(b"content-length:", BODY + HIDDEN), REFUSED),
    "a space before the length's colon": (post(b"content-length : 13", BODY + HIDDEN), REFUSED),
    "a space before the chunks' colon": (post(b"transfer-encoding : chunked", CHUNKED + HIDDEN), REFUSED),
    "an unknown coding": (post(b"transfer-encoding: xchunked", CHUNKED + HIDDEN), REFUSED),
    "chunks that are not last": (post(b"transfer-encoding: chunked, identity", CHUNKED + HIDDEN), REFUSED),
    "chunks twice": (post(b"transfer-encoding: chunked\r\ntransfer-encoding: chunked", CHUNKED + HIDDEN), REFUSED),
    "chunks in quotes": (post(b'transfer-encoding: "chunked"', CHUNKED + HIDDEN), REFUSED),
    "a vertical tab before chunks": (post(b"transfer-encoding: \vchunked", CHUNKED + HIDDEN), REFUSED),
    "a tab before chunks": (post(b"transfer-encoding:\tchunked", CHUNKED + HIDDEN), TWO_REQUESTS),
    "CHUNKS": (post(b"TRANSFER-ENCODING: CHUNKED", CHUNKED + HIDDEN), TWO_REQUESTS),
    "chunks in HTTP/1.0": (chunked(CHUNKED).replace(b"HTTP/1.1", b"HTTP/1.0", 1), ONE_REQUEST),
    "a folded coding": (post(b"transfer-encoding:\r\n chunked", CHUNKED + HIDDEN), REFUSED),
    "a folded header": (post(b"x-a: b\r\n c\r\n" + LENGTH, BODY + HIDDEN), REFUSED),
    "a header that begins with a space": (post(b" x-a: b\r\n" + LENGTH, BODY + HIDDEN), REFUSED),
    "a header without a name": (post(b": b\r\n" + LENGTH, BODY + HIDDEN), REFUSED),
    "bare LF everywhere": (PLAIN.replace(b"\r\n", b"\n"), REFUSED),
    "a bare LF": (post(b"x-a: b\n" + LENGTH, BODY + HIDDEN), REFUSED),
    "a bare CR": (post(b"x-a: b\r" + LENGTH, BODY + HIDDEN), REFUSED),
    "a NUL": (post(b"x-a: b\0c\r\n" + LENGTH, BODY + HIDDEN), REFUSED),
    "chunks with bare LF": (chunked(CHUNKED.replace(b"\r\n", b"\n")), REFUSED),
    "a chunk's size with a bare LF": (chunked(CHUNKED.replace(b"\r\n", b"\n", 1)), REFUSED),
    "a chunk's size with 0x": (chunked(b"0x" + CHUNKED), REFUSED),
    "a chunk's size with a sign": (chunked(b"-" + CHUNKED), REFUSED),
    "a chunk's size beyond 64 bits": (chunked(b"1000000000000000" + CHUNKED), REFUSED),
    "a space behind a chunk's size": (chunked(CHUNKED.replace(b"\r\n", b" \r\n", 1)), REFUSED),
    "a chunk longer than its size": (chunked(CHUNKED.replace(b"}\r\n", b"}XX", 1)), REFUSED),
    "a chunk's extension": (chunked(CHUNKED.replace(b"\r\n", b";a=b\r\n", 1)), TWO_REQUESTS),
    "a chunk's extension with a bare LF": (chunked(CHUNKED.replace(b"\r\n", b";\n", 1)), REFUSED),
    "a length behind the chunks": (chunked(CHUNKED[:-2] + b"content-length: 3\r\n\r\n"), REFUSED),
    "a GET with a body": (
        HIDDEN.replace(b"/api/hidden", b"/healthz").replace(
            b"\r\n\r\n", b"\r\ncontent-length: %d\r\n\r\n" % len(HIDDEN)
        )
        + HIDDEN,
        [200],
    ),
    "a space in the address": (HIDDEN.replace(b"hidden", b"hidden x"), REFUSED),
    "a byte in the address that is no ASCII": (HIDDEN.replace(b"hidden", b"\xff"), REFUSED),
    "no host": (HIDDEN.replace(b"host: x\r\n", b"") + HIDDEN, REFUSED),
    "two hosts": (HIDDEN.replace(b"host: x", b"host: x\r\nHOST: y") + HIDDEN, REFUSED),
    "the same host twice": (HIDDEN.replace(b"host: x", b"host: x\r\nhost: x") + HIDDEN, REFUSED),
    "a host with a path": (HIDDEN.replace(b"host: x", b"host: x/y") + HIDDEN, REFUSED),
    "a host with a user": (HIDDEN.replace(b"host: x", b"host: x@y") + HIDDEN, REFUSED),
    "two hosts in one line": (HIDDEN.replace(b"host: x", b"host: x y") + HIDDEN, REFUSED),
    "an empty host": (HIDDEN.replace(b"host: x", b"host:"), [404]),
    "a host with a port": (HIDDEN.replace(b"host: x", b"host: [::1]:3001"), [404]),
    "no host in HTTP/1.0": (HIDDEN.replace(b"host: x\r\n", b"").replace(b"HTTP/1.1", b"HTTP/1.0"), [404]),
    "two hosts in HTTP/1.0": (HIDDEN.replace(b"host: x", b"host: x\r\nhost: y").replace(b"1.1", b"1.0"), REFUSED),
    "a tunnel": (b"CONNECT evil.example:443 HTTP/1.1\r\nhost: x\r\n\r\n", REFUSED),
}


# Where Envoy decides otherwise: it refuses with other words, or writes anew what it read in one way.
AT_ENVOY: dict[str, list[int]] = {
    **{shape: [501] for shape in ("an unknown coding", "chunks that are not last", "chunks twice", "chunks in quotes")},
    **dict.fromkeys(("a folded coding", "a folded header", "bare LF everywhere", "a bare LF"), TWO_REQUESTS),
    **dict.fromkeys(("a space behind a chunk's size", "a length behind the chunks"), TWO_REQUESTS),
    # It continues the line above, which is the media type.
    "a header that begins with a space": [415, 404],
    # All of it is one header's value: the request has no body, and what follows is no request.
    "a bare CR": [422, 400],
    # It makes them one.
    **{shape: [404] for shape in ("two hosts", "the same host twice")},
    **{shape: [426] for shape in ("chunks in HTTP/1.0", "no host in HTTP/1.0", "two hosts in HTTP/1.0")},
    "a tunnel": [404],
}


@pytest.fixture(scope="module")
def clients(
    gateway: Service, users: dict[str, Service], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, httpx.Client]]:
    """Clients of the gateway, and of an Envoy in front of user: what the two make of a request is read by another."""
    port = free_port()
    ports = {"USER_PORT": port, "USER_V1_PORT": users["v1"].port, "USER_V2_PORT": users["v2"].port}
    directory = tmp_path_factory.mktemp("framing")
    with (
        running_envoy(directory, ROOT / "deploy/local/envoy.yaml", port, ports) as url,
        httpx.Client(base_url=url, trust_env=False) as envoy,
    ):
        yield {"gateway": gateway.client, "envoy": envoy}


def statuses(client: httpx.Client, request: bytes) -> list[int]:
    """Return the status of each answer on a connection of its own."""
    answers = b""
    with socket.create_connection(("127.0.0.1", client.base_url.port), timeout=5) as connection:
        connection.sendall(request)
        while received := connection.recv(65536):
            answers += received
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", answers)]


@pytest.mark.parametrize("at", ["gateway", "envoy"])
def test_a_request_ends_in_one_place_only(clients: dict[str, httpx.Client], at: str) -> None:
    client = clients[at]
    with ThreadPoolExecutor(16) as threads:
        # Envoy takes a second to close a connection.
        answers = threads.map(lambda shape: statuses(client, shape[0]), SHAPES.values())
        seen = dict(zip(SHAPES, answers, strict=True))
    expected = {name: wanted for name, (_, wanted) in SHAPES.items()}
    assert seen == (expected | AT_ENVOY if at == "envoy" else expected)
    # Whoever comes next on a connection that is shared behind gets the own answer, not the hidden request's.
    for _ in range(20):
        assert client.get("/healthz").json() == {"status": "ok"}


@pytest.mark.parametrize(
    ("headers", "status"), [(b"", 400), (b"host: x\r\nx-long: %s\r\n" % (b"x" * 20_000), 431)], ids=["400", "431"]
)
def test_what_is_behind_a_refused_request_is_not_begun(users: dict[str, Service], headers: bytes, status: int) -> None:
    client = users["v1"].client

    def begun() -> list[str]:
        return re.findall(r'http_requests_total.*route="other",status="404".*', client.get("/metrics").text)

    assert statuses(client, HIDDEN) == [404]
    before = begun()
    assert before
    # It would keep the connection open, if it were not refused.
    assert statuses(client, b"GET /healthz HTTP/1.1\r\n%s\r\n" % headers + HIDDEN) == [status]
    assert begun() == before
