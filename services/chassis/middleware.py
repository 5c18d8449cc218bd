"""The middleware around every request: common headers, metrics, and errors as problem details."""

import logging
import time
from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.chassis import metrics
from services.chassis.problems import Problem, problem_response
from services.chassis.tracing import request_headers


class Edge:
    """Adds headers to every response, counts and times it, and returns a problem if a route failed.

    HEAD works wherever GET does: the routes see a GET, and the server sends no body (RFC 9110, 9.3.2).
    """

    def __init__(self, app: ASGIApp, *, headers: Mapping[str, str]) -> None:
        self._app = app
        self._headers = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"]
        if method == "HEAD":
            scope = {**scope, "method": "GET"}
        started = time.perf_counter()
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                # A new list: a response object may be sent more than once.
                message["headers"] = [*message["headers"], *self._headers]
                if b"cache-control" not in dict(message["headers"]):
                    message["headers"].append((b"cache-control", b"no-store"))
                if status == 503:  # A deliberate 503: with this header, Envoy does not retry it.
                    message["headers"].append((b"x-envoy-ratelimited", b"true"))
            await send(message)

        token = request_headers.set(scope["headers"])
        try:
            await self._app(scope, receive, send_with_headers)
        except ClientDisconnect:
            # nginx's status for a client that disconnected, for the metrics only: there is no connection to answer on.
            status = status or 499
        except Exception as error:
            answer = problem_response(_as_problem(error, f"{method} {scope['path']}"))
            if not status:
                await answer(scope, receive, send_with_headers)
        finally:
            route = getattr(scope.get("route"), "path", "") or "other"
            metrics.duration(method, route, status).observe(time.perf_counter() - started)
            request_headers.reset(token)


def _as_problem(error: Exception, request: str) -> HTTPException:
    """Return an HTTP error as it is; log any other, as it is a bug, and return a 500."""
    if isinstance(error, HTTPException):
        return error
    logging.getLogger("application").error("%s failed", request, exc_info=error)
    return Problem(500, "The service failed; the log has the reason.")
