"""Calls to the services behind the gateway."""

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson
from fastapi import Request, Response
from opentelemetry import propagate, trace
from yarl import URL

from services.chassis.caller import GUEST, KNOWN_DEVICE, Caller
from services.chassis.problems import MEDIA_TYPE, Problem
from services.chassis.tracing import PROPAGATED

log = logging.getLogger("upstream")

END_USER = "end-user"
JSON_TYPES = ("application/json", MEDIA_TYPE)


def _senseless(upstream: str, headers: dict[str, str] | None = None) -> Problem:
    return Problem(502, f"{upstream} gave no answer that makes sense.", headers=headers)


@dataclass(frozen=True, slots=True)
class Answer:
    """What an upstream answered. upstream: its name; timing: its entry for the `Server-Timing` header."""

    upstream: str
    status: int
    body: bytes
    content_type: str
    retry_after: str | None
    timing: str

    def json(self) -> Any:
        """Return the parsed body. Raises a Problem when it is no JSON."""
        try:
            return orjson.loads(self.body)
        except ValueError:
            raise self.senseless() from None

    def senseless(self) -> Problem:
        """Return the problem that it makes no sense."""
        return _senseless(self.upstream, {"server-timing": self.timing})

    def response(self, body: bytes | None = None) -> Response:
        """Return the answer for the caller, with another body if one is given."""
        headers = {"server-timing": self.timing}
        if self.retry_after:
            headers["retry-after"] = self.retry_after
        return Response(self.body if body is None else body, self.status, headers, self.content_type)


class Upstream:
    """One service behind the gateway.

    A call that brings no usable answer raises a Problem: 503 when the service cannot be reached or has
    too many calls under way, 504 when it does not answer in time, 502 when its answer makes no sense.
    """

    def __init__(self, name: str, url: str, client: aiohttp.ClientSession, *, timeout: float, concurrency: int) -> None:
        """timeout: seconds for the whole call; concurrency: calls under way at once."""
        self._name, self._base, self._client = name, url.rstrip("/"), client
        self._timeout = timeout
        self._free = concurrency

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
        headers = _passed_on(request)
        if caller:
            headers.update(caller.headers())
            if caller.id != GUEST:
                headers[END_USER] = quote(caller.name)
        if device:
            headers[KNOWN_DEVICE] = device
        if body:
            headers["content-type"] = "application/json"
        started = time.perf_counter()
        try:
            return await self._exchange(method, target, headers, body, started)
        except Problem as problem:
            problem.headers = {**(problem.headers or {}), "server-timing": _timing(self._name, started)}
            raise

    async def _exchange(
        self, method: str, target: str, headers: dict[str, str], body: bytes | None, started: float
    ) -> Answer:
        name = self._name
        if not self._free:
            raise Problem(503, f"Too many calls to {name} are under way.", headers={"Retry-After": "1"})
        self._free -= 1
        try:
            url = URL(self._base + target, encoded=True)
            async with (
                asyncio.timeout(self._timeout),
                self._client.request(method, url, headers=headers, data=body, allow_redirects=False) as response,
            ):
                content = await response.read()
        except TimeoutError:
            raise Problem(504, f"{name} did not answer within {self._timeout:g} s.") from None
        except aiohttp.ClientConnectorError as error:
            log.warning("%s cannot be reached: %s", name, error)
            raise Problem(503, f"{name} cannot be reached.", headers={"Retry-After": "1"}) from None
        except (aiohttp.ClientError, ValueError) as error:
            log.warning("%s answered nothing that makes sense: %r", name, error)
            raise _senseless(name) from None
        finally:
            self._free += 1
        if response.content_type not in JSON_TYPES:
            # A proxy on the way answers in plain text when it cannot reach the service.
            if response.status in (502, 503, 504):
                raise Problem(response.status, f"{name} cannot be reached.", headers={"Retry-After": "1"})
            raise _senseless(name)
        served_by = response.headers.get("x-served-by")
        return Answer(
            name,
            response.status,
            content,
            response.content_type,
            response.headers.get("retry-after"),
            _timing(name, started, served_by),
        )


def client() -> aiohttp.ClientSession:
    """Return the connection pool that all upstreams share."""
    return aiohttp.ClientSession(
        # Each upstream has its own limit; an idle connection is given up before the service closes it.
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60),
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("User-Agent", "Accept-Encoding"),
        timeout=aiohttp.ClientTimeout(total=None),
        auto_decompress=False,
    )


def _passed_on(request: Request) -> dict[str, str]:
    """Return the trace headers of a request, continued by our own span when there is one.

    `end-user` is the gateway's to say: what comes from outside is dropped.
    """
    headers = {
        name.decode("latin-1"): value.decode("latin-1")
        for name, value in request.scope["headers"]
        if name in PROPAGATED and name != b"end-user"
    }
    if trace.get_current_span().get_span_context().is_valid:
        propagate.inject(headers)
    return headers


def _timing(name: str, started: float, served_by: str | None = None) -> str:
    """Return an entry of the `Server-Timing` header (W3C Server Timing), in milliseconds."""
    milliseconds = (time.perf_counter() - started) * 1000
    described = f';desc="{served_by}"' if served_by and '"' not in served_by else ""
    return f"{name};dur={milliseconds:.1f}{described}"
