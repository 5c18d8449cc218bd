"""Calls to the services behind the gateway."""

import json
import logging
import re
import time
from http import HTTPMethod
from typing import Any, NamedTuple
from urllib.parse import quote

import aiohttp
from fastapi import Request, Response
from yarl import URL

from services.chassis.caller import CALLER, GUEST, USER_ID, USER_NAME, Caller
from services.chassis.problems import MEDIA_TYPE, Problem

# Headers that are propagated to upstreams: W3C Trace Context and Baggage, Zipkin B3, OpenTracing, Envoy's request id,
# and the Idempotency-Key.
PASSED_ON = frozenset(
    b"traceparent tracestate baggage b3 x-b3-traceid x-b3-spanid x-b3-parentspanid x-b3-sampled x-b3-flags "
    b"x-ot-span-context x-request-id idempotency-key".split()
)
PASSED_BACK = ("allow", "retry-after")
JSON_TYPES = ("application/json", MEDIA_TYPE)
METHODS = frozenset(HTTPMethod) - {HTTPMethod.CONNECT}  # CONNECT has no path, so a service has no answer to it.
# The details of a problem, by its status.
FAILURES = {502: "returned no usable response", 503: "cannot be reached", 504: "did not answer in time"}
# Envoy's local replies to requests that no upstream has processed: connection failure, circuit breaker, no healthy
# host, an injected fault.
# Any other 503 of a proxy may also mean that the connection broke after the upstream had received the request.
NOT_SENT = re.compile(
    rb"connection failure|connection timeout|refused stream|overflow|no healthy upstream|fault filter abort"
)

log = logging.getLogger("upstream")


class Answer(NamedTuple):
    """The response of an upstream. headers: those that are passed to the client."""

    upstream: "Upstream"
    status: int
    body: bytes
    media_type: str
    headers: dict[str, str]

    def json(self) -> Any:
        """Return the parsed body. Raises a Problem if it is not JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise self.invalid() from None

    def invalid(self) -> Problem:
        """Return the problem of a response that cannot be used."""
        return self.upstream.problem(502, self.headers)

    def response(self, caller: Caller | None = None) -> Response:
        """Return the answer as a response. caller: the caller it is for, named in a header."""
        headers = {**self.headers, CALLER: caller.id} if caller else self.headers
        return Response(self.body, self.status, headers, self.media_type)


class Upstream:
    """One service behind the gateway."""

    def __init__(self, name: str, url: object, client: aiohttp.ClientSession) -> None:
        self._name, self._base, self._client = name, str(url).rstrip("/"), client

    async def call(
        self,
        request: Request | None,
        method: str,
        target: str,
        caller: Caller | None = None,
        body: bytes | None = None,
        *,
        device: str = "",
    ) -> Answer:
        """Call the upstream, with the headers that a request propagates (None: a call that several requests share).

        target: path and query, percent-encoded; caller, device (a token): sent in headers; body: JSON.
        Raises a Problem: 503 when the service cannot be reached, 504 when it is too slow, 502 when there is no
        usable response; 400 for a header that is not UTF-8, 405 for an unknown method. The proxies retry
        reads, except searches, and except on Knative; aiohttp sends one once more if its connection breaks.
        """
        if method not in METHODS:
            # Not forwarded: a proxy would reject it, without an Allow header. The service has one.
            known = await self.call(request, "OPTIONS", target, caller)
            raise Problem(405, "This method is not supported.", headers={"Allow": known.headers.get("allow", "")})
        headers = [] if request is None else _passed_on(request)
        if caller:
            name = quote(caller.name)
            headers += [(USER_ID, caller.id), (USER_NAME, name)]
            if caller.id != GUEST:
                headers.append(("end-user", name))  # Matched by header-based routes (lessons 2 and 4).
        if device:
            headers.append(("x-known-device", device))
        if body:
            headers.append(("content-type", "application/json"))
        url = URL(self._base + target, encoded=True)
        started = time.perf_counter()
        try:
            async with self._client.request(
                method, url, headers=headers, data=body, allow_redirects=False, middlewares=SEND_ONCE.get(method)
            ) as response:
                content = await response.read()
        except TimeoutError:
            raise self.problem(504, self._timing(started)) from None
        except aiohttp.ClientConnectorError as error:
            log.warning("%s cannot be reached: %s", self._name, error)
            raise self.problem(503, self._timing(started)) from None
        except (aiohttp.ClientError, ValueError) as error:
            log.warning("%s returned no usable response: %r", self._name, error)
            raise self.problem(502, self._timing(started)) from None
        passed_back = self._timing(started, _ascii_header(response, "x-served-by"))
        passed_back |= {name: value for name in PASSED_BACK if (value := _ascii_header(response, name))}
        is_json = response.status == 204 or response.content_type in JSON_TYPES
        if not is_json or not 200 <= response.status < 600:
            # Not from the service: a local reply of a proxy, in plain text, or an invalid status.
            log.warning("%s returned %d, %s", self._name, response.status, response.content_type)
            raise self.problem(_failure(method, response.status, content), passed_back)
        return Answer(self, response.status, content, response.content_type, passed_back)

    def problem(self, status: int, headers: dict[str, str]) -> Problem:
        """Return the problem of a call without a usable response. status: one of FAILURES."""
        retry = {"Retry-After": "1"} if status == 503 else {}
        return Problem(status, f"{self._name} {FAILURES[status]}.", headers={**headers, **retry})

    def _timing(self, started: float, served_by: str = "") -> dict[str, str]:
        """Return the `Server-Timing` header of a call (W3C Server Timing), in milliseconds."""
        milliseconds = (time.perf_counter() - started) * 1000
        described = f';desc="{served_by}"' if served_by and '"' not in served_by else ""
        return {"server-timing": f"{self._name};dur={milliseconds:.1f}{described}"}


def _ascii_header(response: aiohttp.ClientResponse, name: str) -> str:
    """Return a header, or "" if it is missing or not ASCII, and so could not be sent on."""
    value = response.headers.get(name, "")
    return value if value.isascii() else ""


def _passed_on(request: Request) -> list[tuple[str, str]]:
    """Return the headers to propagate. Raises a Problem for one that is not UTF-8."""
    try:
        return [(name.decode(), value.decode()) for name, value in request.scope["headers"] if name in PASSED_ON]
    except UnicodeDecodeError:
        raise Problem(400, f"The headers {', '.join(sorted(map(bytes.decode, PASSED_ON)))} must be UTF-8.") from None


def _failure(method: str, status: int, content: bytes) -> int:
    """Return the status of the problem for a proxy's local reply.

    A write that may have been applied is a 502: the gateway's own 503 says that it was not sent.
    """
    if status == 503 and method != "GET" and not NOT_SENT.search(content):
        return 502
    return status if status in FAILURES else 502


async def _send_once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep aiohttp from retrying a PUT or DELETE whose connection broke: a write is sent once."""
    try:
        return await handler(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        if isinstance(error, aiohttp.ClientConnectorError):
            raise
        raise aiohttp.ClientConnectionError(str(error)) from error


# By method. If a connection breaks before the response, aiohttp sends an idempotent request once more: safe for a GET,
# but a PUT or DELETE could be applied twice.
SEND_ONCE = {"PUT": [_send_once], "DELETE": [_send_once]}


def client(timeout: float) -> aiohttp.ClientSession:
    """Return the HTTP client whose connection pool all upstreams share. timeout: seconds for a whole call."""
    return aiohttp.ClientSession(
        # The proxy limits connections. We close an idle one before the server does (75 s).
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60),
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
        timeout=aiohttp.ClientTimeout(total=timeout),
        auto_decompress=False,
    )
