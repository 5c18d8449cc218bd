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

from services.chassis import logs
from services.chassis.settings import Settings

# Seconds. Longer than the proxies' and the gateway's own (60 s): the side that sends requests closes an idle
# connection first, so that no request meets a closed one.
KEEP_ALIVE = 75


class Server(uvicorn.Server):
    """Stops in steps: on SIGTERM readiness fails, requests finish, the exit code is 0; a second signal hurries."""

    def __init__(self, config: uvicorn.Config, app: FastAPI, delay: float) -> None:
        """delay: seconds from the first signal, when readiness fails, until no new request is taken."""
        super().__init__(config)
        self._app, self._delay = app, delay

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Take a step towards the end.

        uvicorn's own handler would raise the signal again at the end, and so spoil the exit code.
        """
        if self._app.state.stopping:
            self.should_exit = self.force_exit = True
        else:
            self._app.state.stopping = True
            asyncio.get_running_loop().call_later(self._delay, setattr, self, "should_exit", True)


def run(service: str) -> NoReturn:
    """Run a service until it is told to stop. Exits with 0 after that, 1 if it cannot serve, 2 on a wrong setting."""
    module = importlib.import_module(f"services.{service}.app")
    try:
        settings: Settings = module.Settings()
        logs.configure(settings, service)
        app: FastAPI = module.create_app(settings)
    except ValidationError as error:
        for fault in error.errors():
            print(f"{str(fault['loc'][0]).upper()}: {fault['msg'].removeprefix('Value error, ')}", file=sys.stderr)
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
        ws="none",
        log_config=None,
        access_log=settings.access_log,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=int(settings.shutdown_timeout),
    )
    server = Server(config, app, settings.shutdown_delay)
    # What exists now stays: the garbage collector need not look at it again.
    gc.collect()
    gc.freeze()
    gc.enable()
    server.run(sockets=[listener])
    logging.getLogger("server").info("Stopped")
    sys.exit(0 if server.started else 1)
