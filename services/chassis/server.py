"""The process of a service: settings, socket, server, exit code."""

import gc
import importlib
import socket
import sys

import uvicorn
from pydantic import ValidationError
from starlette.types import ASGIApp

from services.chassis import activation, logs, metrics, start
from services.chassis.settings import Settings


def run(service: str) -> None:
    """Run a service until SIGTERM: then it takes no new connection, and what runs finishes.

    Exits with code 0 after that (start.py), and with code 1 and a line that says why if it cannot serve.
    """
    module = importlib.import_module(f"services.{service}.app")
    metrics.reached("python", start.BEGAN)
    metrics.reached("imports")
    try:
        settings: Settings = module.Settings()
        logs.configure(settings, service)
        app: ASGIApp = module.create_app(settings)
        handed_over = activation.handed_over()
    except ValidationError as error:
        faults = (f"{str(fault['loc'][0]).upper()}: {fault['msg']}" for fault in error.errors())
        sys.exit("\n".join(faults).replace("Value error, ", ""))
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    try:
        listener = handed_over or listen(settings.host, settings.port)
    except OSError as error:
        sys.exit(f"PORT: cannot listen on {settings.host}:{settings.port}: {error.strerror}")
    config = uvicorn.Config(
        app,
        ws="none",
        log_config=None,
        access_log=settings.access_log,
        server_header=False,
        proxy_headers=False,
        # Longer than the callers' 60 s: they close an idle connection first, and so send no request into a closed one.
        timeout_keep_alive=75,
        timeout_graceful_shutdown=settings.shutdown_timeout,
    )
    # What exists now stays: the garbage collector need not look at it again.
    gc.freeze()
    # At its default threshold it would run all the time under load, and find almost nothing.
    gc.set_threshold(20_000)
    gc.enable()
    server = activation.Server if handed_over else uvicorn.Server
    server(config).run(sockets=[listener])


def listen(host: str, port: int) -> socket.socket:
    """Listen on an address. `::` is every address of IPv6 and of IPv4, as far as this machine has them."""
    if host == "::" and not socket.has_dualstack_ipv6():
        host = "0.0.0.0"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=2048, dualstack_ipv6=host == "::")
