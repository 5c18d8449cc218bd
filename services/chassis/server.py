"""The process of a service: settings, socket, signals, exit code."""

import asyncio
import gc
import importlib
import logging
import os
import random
import re
import socket
import sys
from http import HTTPStatus
from types import FrameType
from typing import Any, NoReturn

import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from services.chassis import logs
from services.chassis.application import RETRY_AFTER
from services.chassis.problems import NOT_ARRIVED, Problem
from services.chassis.settings import Settings

MAX_HEADERS = 16 * 1024
# Longer than the clients' own (60 s): the side that sends requests closes first, so none meets a closed connection.
KEEP_ALIVE = 75
# Seconds from the first byte of a request to its last.
RECEIVE_TIMEOUT = 10
# A name or an address, and a port (RFC 3986, 3.2.2).
HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[\w.~!$&'()*+,;=%-]*)(:\d*)?")
MALFORMED = Problem(400, "The request is not valid HTTP.")
NOT_ONE_HOST = Problem(400, "A request names one host.")
HEADERS_TOO_LARGE = Problem(431, f"The headers exceed {MAX_HEADERS // 1024} KiB.")


class LimitedProtocol(HttpToolsProtocol):
    """Refuses what is wrong, too large, too slow or too much before any work is done for it.

    It answers 400 to what is no HTTP or does not name one host, 431 when line and headers exceed MAX_HEADERS bytes,
    also when they never end, 408 to a request that takes too long to arrive, and 503 when too many are under way.
    """

    _in_headers = False
    _unfinished = 0
    _ignored = False
    _is_arriving = False
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # As after an answer: who says nothing is not kept for ever.
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self._set_deadline(None)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_headers, self._ignored, self._is_arriving = True, False, True

    def on_headers_complete(self) -> None:
        self._in_headers = False
        if self.transport.is_closing():
            # Behind a request that was refused.
            self._ignored = True
        elif problem := self._fault():
            self._refuse(problem)
        elif not self._is_one_too_many():
            super().on_headers_complete()

    def _fault(self) -> Problem | None:
        """Return what is wrong with the line and the headers, or None."""
        size, hosts = len(self.url), []
        for name, value in self.headers:
            size += len(name) + len(value)
            if name == b"host":
                hosts.append(value)
        if size > MAX_HEADERS:
            return HEADERS_TOO_LARGE
        # RFC 9112, 3.2: two readers could take it for requests to two sites.
        if len(hosts) == 1:
            return None if HOST.fullmatch(hosts[0]) else NOT_ONE_HOST
        return NOT_ONE_HOST if hosts or self.parser.get_http_version() == "1.1" else None

    def on_body(self, body: bytes) -> None:
        if not self._ignored:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._is_arriving = False
        if not self._ignored:
            super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_headers and not self.transport.is_closing():
            self._unfinished += len(data)
            if self._unfinished > MAX_HEADERS:
                self._refuse(HEADERS_TOO_LARGE)
        else:
            self._unfinished = 0
        if not self._is_arriving:
            self._set_deadline(None)
        elif not self._deadline:
            self._set_deadline(self.loop.call_later(RECEIVE_TIMEOUT, self._is_late))

    def _set_deadline(self, deadline: asyncio.TimerHandle | None) -> None:
        if self._deadline:
            self._deadline.cancel()
        self._deadline = deadline

    def _is_late(self) -> None:
        if self._in_headers or not self.cycle.response_started:
            self._refuse(NOT_ARRIVED)
        else:
            self.transport.close()

    def _is_one_too_many(self) -> bool:
        """Say whether the request was refused because too many are under way."""
        if self.cycle and not self.cycle.response_complete:
            # It waits for the one before it on this connection.
            return False
        method = self.parser.get_method().decode("ascii")
        path = self.url.partition(b"?")[0].decode("latin-1")
        app: Any = self.config.app
        # A body is not waited for.
        is_last = method != "GET" or not self.parser.should_keep_alive()
        refusal: bytes | None = app.state.limit.refusal(len(self.tasks), method, path, is_last=is_last)
        if refusal is None:
            return False
        self._ignored = True
        self.transport.write(refusal)
        if is_last:
            self.transport.close()
        else:
            self.on_response_complete()
            # Who does not wait is not heard: refusing the same caller again and again would cost what others need.
            self.flow.pause_reading()
            # Not all of them at once again.
            self.loop.call_later(RETRY_AFTER * random.uniform(0.3, 1), self._listen_again)  # noqa: S311 - no secret
        return True

    def _listen_again(self) -> None:
        if not self.transport.is_closing():
            self.flow.resume_reading()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002
        self._refuse(MALFORMED)

    def _refuse(self, problem: Problem) -> None:
        self._ignored = True
        body = problem.body()
        head = "\r\n".join(
            (
                f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}",
                "content-type: application/problem+json",
                f"content-length: {len(body)}",
                "connection: close",
            )
        )
        self.transport.write(f"{head}\r\n\r\n".encode() + body)
        self.transport.close()


class Server(uvicorn.Server):
    """Stops in steps: on SIGTERM readiness fails, requests finish, the exit code is 0; a second signal hurries."""

    def __init__(self, config: uvicorn.Config, app: FastAPI, delay: float) -> None:
        super().__init__(config)
        self._app, self._delay, self._signals = app, delay, 0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Take a step towards the end.

        The signal is not recorded as uvicorn does: it would be raised again at the end and spoil the exit code.
        """
        self._signals += 1
        self._app.state.stopping = True
        if self._signals > 1:
            self.should_exit = self.force_exit = True
        elif self._delay:
            asyncio.get_running_loop().call_later(self._delay, setattr, self, "should_exit", True)
        else:
            self.should_exit = True


def run(service: str) -> NoReturn:
    """Run a service until it is told to stop. Exits with 0 after that, 1 if it cannot serve, 2 on a wrong setting."""
    # The name in traces, which OpenTelemetry reads from here.
    os.environ.setdefault("OTEL_SERVICE_NAME", service)
    module = importlib.import_module(f"services.{service}.app")
    try:
        settings: Settings = module.Settings()
        logs.configure(settings, service)
        app: FastAPI = module.create_app(settings)
    except ValidationError as error:
        for fault in error.errors():
            name = "_".join(str(part) for part in fault["loc"]).upper()
            print(f"{name}: {fault['msg'].removeprefix('Value error, ')}", file=sys.stderr)
        sys.exit(2)
    except ValueError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        listener = socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except OSError as error:
        print(f"PORT: cannot listen on {settings.host}:{settings.port}: {error.strerror}", file=sys.stderr)
        sys.exit(1)
    config = uvicorn.Config(
        app,
        http=LimitedProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=int(settings.shutdown_timeout),
    )
    server = Server(config, app, settings.shutdown_delay)
    # What exists now stays: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    gc.enable()
    server.run(sockets=[listener])
    logging.getLogger("server").info("Stopped")
    sys.exit(0 if server.started else 1)
