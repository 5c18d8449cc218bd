"""Request checks before any route: the gateway is the only service that browsers reach through the ingress."""

from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.chassis.problems import Problem, problem_response

MAX_BODY = 64 * 1024  # bytes
TOO_LARGE = f"The body is larger than {MAX_BODY // 1024} KiB."
# The rest of the body is not read, so no further request can follow on the connection.
CLOSE = {"Connection": "close"}
DEFAULT_PORTS = {"http": 80, "https": 443}

# Scheme, host and port.
Origin = tuple[str, str, int | None]


def parse_origin(text: str) -> Origin | None:
    """Parse an origin such as https://todo.example, or return None. The default port is that of the scheme."""
    try:
        parts = urlsplit(text.strip().removesuffix("/"))
        port = DEFAULT_PORTS.get(parts.scheme) if parts.port is None else parts.port
    except ValueError:
        return None
    is_more = parts.path or parts.query or parts.fragment or "@" in parts.netloc
    return None if is_more or not parts.scheme or not parts.hostname else (parts.scheme, parts.hostname, port)


class Guard:
    """Rejects cross-origin writes (CSRF), and bodies that are too large, compressed, or not JSON."""

    def __init__(self, app: ASGIApp, trusted_origins: Iterable[Origin] = ()) -> None:
        """trusted_origins: other origins whose pages may send writes."""
        self._app, self._trusted = app, frozenset(trusted_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._app(scope, receive, send)
            return
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        if problem := self._cross_origin(headers) or _wrong_body(headers):
            await problem_response(problem)(scope, receive, send)
            return
        size = 0

        async def receive_within_limit() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > MAX_BODY:
                raise Problem(413, TOO_LARGE, headers=CLOSE)
            return message

        await self._app(scope, receive_within_limit, send)

    def _cross_origin(self, headers: dict[bytes, str]) -> Problem | None:
        """Return the problem of a cross-origin request (CSRF), or None.

        Like Go's http.CrossOriginProtection, but with default ports. It checks Sec-Fetch-Site, which pages cannot set
        and proxies do not rewrite. Browsers omit it on plain HTTP: then Origin is compared with Host. Clients other
        than browsers send neither, and are accepted.
        """
        origin, site = headers.get(b"origin", ""), headers.get(b"sec-fetch-site", "")
        if site in ("same-origin", "none") or (not site and not origin):
            return None
        sender = parse_origin(origin)
        if sender in self._trusted:
            return None
        # The scheme is not compared: behind a proxy that terminates TLS it differs.
        if not site and sender and sender == parse_origin(f"{sender[0]}://{headers.get(b'host', '')}"):
            return None
        return Problem(403, f"A page of {origin or 'another site'} may not change anything here: see TRUSTED_ORIGINS.")


def _wrong_body(headers: dict[bytes, str]) -> Problem | None:
    length = headers.get(b"content-length", "0")
    # An HTML form, which any site can submit without a preflight request, cannot send JSON.
    media_type = headers.get(b"content-type", "").split(";")[0].strip().lower()
    has_body = length != "0" or b"transfer-encoding" in headers
    if has_body and b"upgrade" in headers:
        # The server does not read the body of such a request. Envoy forwards no such request.
        return Problem(
            400, "A request with a body cannot upgrade the protocol: send it without the header Upgrade.", headers=CLOSE
        )
    if (has_body or media_type) and media_type != "application/json":
        return Problem(415, "The body must be application/json.", headers={"Accept": "application/json"})
    if headers.get(b"content-encoding", "").strip().lower() not in ("identity", ""):
        return Problem(415, "The body must not be compressed.", headers={"Accept-Encoding": "identity"})
    return Problem(413, TOO_LARGE, headers=CLOSE) if int(length) > MAX_BODY else None
