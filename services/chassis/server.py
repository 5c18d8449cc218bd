"""Runs the process of a service: settings, socket, server, exit code."""

import gc
import importlib
import socket
import sys

import uvicorn
from pydantic import ValidationError
from starlette.types import ASGIApp

from services.chassis import activation, logs, metrics
from services.chassis.settings import Settings


def run(service: str, started: float | None = None) -> None:
    """Run a service until SIGTERM, then shut down gracefully: no new connections, running requests finish.

    Exit code 0 after that (start.py); 1, with one line that names the reason, if the service cannot start.
    """
    module = importlib.import_module(f"services.{service}.app")
    metrics.reached("python", started)
    metrics.reached("imports")
    try:
        settings: Settings = module.Settings()
        logs.configure(settings, service)
        app: ASGIApp = module.create_app(settings)
        inherited = activation.inherited_socket()
    except ValidationError as error:
        faults = (f"{str(fault['loc'][0]).upper()}: {fault['msg']}" for fault in error.errors())
        sys.exit("\n".join(faults).replace("Value error, ", ""))
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    try:
        listener = inherited or listen(settings.host, settings.port)
    except OSError as error:
        sys.exit(f"PORT: cannot listen on {settings.host}:{settings.port}: {error.strerror}")
    config = uvicorn.Config(
        app,
        ws="none",
        log_config=None,
        access_log=settings.access_log,
        server_header=False,
        proxy_headers=False,
        # Longer than the clients' 60 s, so that they close an idle connection first and never send on a closed one.
        timeout_keep_alive=75,
        timeout_graceful_shutdown=settings.shutdown_timeout,
    )
    # Objects that exist now live as long as the process: excluded from garbage collection.
    gc.freeze()
    # The default threshold would trigger it constantly under load, with almost nothing to collect.
    gc.set_threshold(20_000)
    gc.enable()
    server = activation.Server if inherited else uvicorn.Server
    server(config).run(sockets=[listener])


def listen(host: str, port: int) -> socket.socket:
    """Listen on an address. `::` is every IPv6 and IPv4 address of this machine."""
    if host == "::" and not socket.has_dualstack_ipv6():
        host = "0.0.0.0"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=2048, dualstack_ipv6=host == "::")
