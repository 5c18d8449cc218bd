"""Request smuggling (RFC 9112): the ingress rejects ambiguous requests, or forwards one interpretation."""

import re
import socket
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.conftest import ON_SQLITE

pytestmark = ON_SQLITE

BODY = b'{"name": "x"}'
CHUNKED = b"d\r\n%s\r\n0\r\n\r\n" % BODY
# The hidden request: it follows a request that ends earlier for one parser than for another.
HIDDEN = b"GET /api/hidden HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
REFUSED = [400]
# The body is no registration, and the hidden request is one of its own.
TWO_REQUESTS = [422, 404]
UNKNOWN_CODING = [501]
OLD = [426]


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
    "an endless length": (post(b"content-length: 99999999999999999999", BODY + HIDDEN), REFUSED),
    "a space before the length's colon": (post(b"content-length : 13", BODY + HIDDEN), REFUSED),
    "an unknown coding": (post(b"transfer-encoding: xchunked", CHUNKED + HIDDEN), UNKNOWN_CODING),
    "chunks that are not last": (post(b"transfer-encoding: chunked, identity", CHUNKED + HIDDEN), UNKNOWN_CODING),
    "chunks twice": (post(b"transfer-encoding: chunked\r\n" * 2, CHUNKED + HIDDEN), UNKNOWN_CODING),
    "a vertical tab before chunks": (post(b"transfer-encoding: \vchunked", CHUNKED + HIDDEN), REFUSED),
    "a tab before chunks": (post(b"transfer-encoding:\tchunked", CHUNKED + HIDDEN), TWO_REQUESTS),
    "CHUNKS": (post(b"TRANSFER-ENCODING: CHUNKED", CHUNKED + HIDDEN), TWO_REQUESTS),
    "chunks in HTTP/1.0": (chunked(CHUNKED).replace(b"HTTP/1.1", b"HTTP/1.0", 1), OLD),
    "a folded coding": (post(b"transfer-encoding:\r\n chunked", CHUNKED + HIDDEN), TWO_REQUESTS),
    "a folded header": (post(b"x-a: b\r\n c\r\n" + LENGTH, BODY + HIDDEN), TWO_REQUESTS),
    # It continues the line above, which is the media type.
    "a header that begins with a space": (post(b" x-a: b\r\n" + LENGTH, BODY + HIDDEN), [415, 404]),
    "bare LF everywhere": (PLAIN.replace(b"\r\n", b"\n"), TWO_REQUESTS),
    "a bare LF": (post(b"x-a: b\n" + LENGTH, BODY + HIDDEN), TWO_REQUESTS),
    # All of it is one header's value: the request has no body, and what follows is no request.
    "a bare CR": (post(b"x-a: b\r" + LENGTH, BODY + HIDDEN), [422, 400]),
    "chunks with bare LF": (chunked(CHUNKED.replace(b"\r\n", b"\n")), REFUSED),
    "a chunk's size with 0x": (chunked(b"0x" + CHUNKED), REFUSED),
    "a chunk's size beyond 64 bits": (chunked(b"1000000000000000" + CHUNKED), REFUSED),
    "a space behind a chunk's size": (chunked(CHUNKED.replace(b"\r\n", b" \r\n", 1)), TWO_REQUESTS),
    "a chunk longer than its size": (chunked(CHUNKED.replace(b"}\r\n", b"}XX", 1)), REFUSED),
    "a chunk's extension": (chunked(CHUNKED.replace(b"\r\n", b";a=b\r\n", 1)), TWO_REQUESTS),
    "a chunk's extension with a bare LF": (chunked(CHUNKED.replace(b"\r\n", b";\n", 1)), REFUSED),
    "a length behind the chunks": (chunked(CHUNKED[:-2] + b"content-length: 3\r\n\r\n"), TWO_REQUESTS),
    "a GET with a body": (b"GET /healthz HTTP/1.1\r\nhost: x\r\n" + LENGTH + b"\r\n\r\n" + BODY + HIDDEN, [200, 404]),
    "a space in the address": (HIDDEN.replace(b"hidden", b"hidden x"), REFUSED),
    "no host": (HIDDEN.replace(b"host: x\r\n", b"") + HIDDEN, REFUSED),
    "two hosts": (HIDDEN.replace(b"host: x", b"host: x\r\nHOST: y") + HIDDEN, REFUSED),
    "an empty host": (HIDDEN.replace(b"host: x", b"host:"), [404]),
    "a tunnel": (b"CONNECT evil.example:443 HTTP/1.1\r\nhost: x\r\n\r\n", [403]),
}


def statuses(client: httpx.Client, request: bytes) -> list[int]:
    """Return the status of each answer on a connection of its own."""
    answers = b""
    with socket.create_connection(("127.0.0.1", client.base_url.port), timeout=10) as connection:
        connection.sendall(request)
        while received := connection.recv(65536):
            answers += received
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", answers)]


def test_a_request_ends_in_one_place_only(visitor: httpx.Client) -> None:
    # Envoy takes a second to close a connection.
    with ThreadPoolExecutor(len(SHAPES)) as threads:
        answers = threads.map(lambda shape: statuses(visitor, shape[0]), SHAPES.values())
        seen = dict(zip(SHAPES, answers, strict=True))
    assert seen == {name: wanted for name, (_, wanted) in SHAPES.items()}
    # The next one on a connection that the proxy shares gets its own answer, not that of a hidden request.
    for _ in range(20):
        assert visitor.get("/healthz").json() == {"status": "ok"}
