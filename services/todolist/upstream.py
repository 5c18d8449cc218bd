"""Calls to the services behind the gateway."""

import json
import logging
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp
from fastapi import Request, Response
from yarl import URL

from services.chassis.caller import GUEST, Caller
from services.chassis.problems import MEDIA_TYPE, Problem

# The headers that go on from a request to the requests it causes: W3C Trace Context and Baggage, Zipkin B3, and
# Envoy's request id.
PASSED_ON = frozenset(
    b"traceparent tracestate baggage b3 x-b3-traceid x-b3-spanid x-b3-parentspanid x-b3-sampled x-b3-flags "
    b"x-ot-span-context x-request-id".split()
)
JSON_TYPES = ("application/json", MEDIA_TYPE)
RETRY_LATER = {"Retry-After": "1"}

log = logging.getLogger("upstream")


@dataclass(frozen=True, slots=True)
class Answer:
    """What an upstream answered. upstream: its name; timing: its entry for the `Server-Timing` header."""

    upstream: str
    status: int
    body: bytes
    content_type: str
    retry_after: str | None
    timing: str

    @property
    def is_error(self) -> bool:
        """Whether the status says so."""
        return self.status >= 400  # noqa: PLR2004

    def json(self) -> Any:
        """Return the parsed body. Raises a Problem when it is no JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            raise self.invalid() from None

    def invalid(self) -> Problem:
        """Return the problem of a response that is not what it should be."""
        return Problem(502, f"{self.upstream} returned an invalid response.", headers={"server-timing": self.timing})

    def response(self) -> Response:
        """Return the answer for the caller."""
        headers = {"server-timing": self.timing}
        if self.retry_after:
            headers["retry-after"] = self.retry_after
        return Response(self.body, self.status, headers, self.content_type)


class Upstream:
    """One service behind the gateway.

    A call that brings no usable answer raises a Problem: 503 when the service cannot be reached, 504 when it does not
    answer in time, 502 when its response is invalid.
    """

    def __init__(self, name: str, url: object, client: aiohttp.ClientSession) -> None:
        self._name, self._base, self._client = name, str(url).rstrip("/"), client

    async def call(
        self,
        request: Request,
        method: str,
        target: str,
        caller: Caller | None = None,
        body: bytes | None = None,
        *,
        device: str = "",
    ) -> Answer:
        """Make the call that a request causes, with its trace headers.

        target: path and query as they go on the wire; caller, device: told to the service if given.
        """
        headers = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in request.scope["headers"]
            if name in PASSED_ON
        }
        if caller:
            headers |= caller.headers()
            if caller.id != GUEST:
                headers["end-user"] = quote(caller.name)
        if device:
            headers["x-known-device"] = device
        if body:
            headers["content-type"] = "application/json"
        started = time.perf_counter()
        try:
            return await self._exchange(method, target, headers, body, started)
        except Problem as problem:
            problem.headers = {**(problem.headers or {}), "server-timing": self._timing(started)}
            raise

    async def _exchange(
        self, method: str, target: str, headers: dict[str, str], body: bytes | None, started: float
    ) -> Answer:
        name = self._name
        try:
            url = URL(self._base + target, encoded=True)
            async with self._client.request(method, url, headers=headers, data=body, allow_redirects=False) as response:
                content = await response.read()
        except TimeoutError:
            raise Problem(504, f"{name} did not answer in time.") from None
        except aiohttp.ClientConnectorError as error:
            log.warning("%s cannot be reached: %s", name, error)
            raise Problem(503, f"{name} cannot be reached.", headers=RETRY_LATER) from None
        except (aiohttp.ClientError, ValueError) as error:
            log.warning("%s returned an invalid response: %r", name, error)
            raise Problem(502, f"{name} returned an invalid response.") from None
        if response.content_type not in JSON_TYPES:
            # A proxy on the way answers in plain text when it cannot reach the service.
            if response.status in (502, 503, 504):
                raise Problem(response.status, f"{name} cannot be reached.", headers=RETRY_LATER)
            raise Problem(502, f"{name} returned an invalid response.")
        timing = self._timing(started, response.headers.get("x-served-by"))
        retry_after = response.headers.get("retry-after")
        return Answer(name, response.status, content, response.content_type, retry_after, timing)

    def _timing(self, started: float, served_by: str | None = None) -> str:
        """Return an entry of the `Server-Timing` header (W3C Server Timing), in milliseconds."""
        milliseconds = (time.perf_counter() - started) * 1000
        described = f';desc="{served_by}"' if served_by and '"' not in served_by else ""
        return f"{self._name};dur={milliseconds:.1f}{described}"


def client(timeout: float) -> aiohttp.ClientSession:
    """Return the connection pool that all upstreams share. timeout: seconds for a whole call."""
    return aiohttp.ClientSession(
        # How many connections an upstream takes is the proxy's to say. An idle one is closed here before it is there.
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60),
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("User-Agent", "Accept-Encoding"),
        timeout=aiohttp.ClientTimeout(total=timeout),
        auto_decompress=False,
    )
