"""The process of a service: settings, socket, signals, exit code."""

import asyncio
import gc
import importlib
import logging
import socket
import sys
from types import FrameType
from typing import NoReturn

import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from services.chassis import logs
from services.chassis.problems import Problem
from services.chassis.settings import Settings

MAX_HEADERS = 16 * 1024
# Longer than the clients' own (60 s): the side that sends requests closes first, so none meets a closed connection.
KEEP_ALIVE = 75


class LimitedHeadersProtocol(HttpToolsProtocol):
    """Answers 431 to a request whose line and headers exceed MAX_HEADERS bytes, also when they never end."""

    _header_bytes = 0
    _in_headers = False
    _unfinished = 0

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._header_bytes, self._in_headers = 0, True

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._header_bytes += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._header_bytes += len(name) + len(value)

    def on_headers_complete(self) -> None:
        self._in_headers = False
        if self._header_bytes > MAX_HEADERS:
            self._refuse()
        else:
            super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_headers and not self.transport.is_closing():
            self._unfinished += len(data)
            if self._unfinished > MAX_HEADERS:
                self._refuse()
        else:
            self._unfinished = 0

    def _refuse(self) -> None:
        body = Problem(431, f"The headers exceed {MAX_HEADERS // 1024} KiB.").body()
        head = "\r\n".join(
            (
                "HTTP/1.1 431 Request Header Fields Too Large",
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
        http=LimitedHeadersProtocol,
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
