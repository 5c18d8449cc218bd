"""What the gateway refuses before any route sees it: it is the only service that the ingress lets browsers reach."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.chassis.problems import Problem, problem_response

MAX_BODY = 64 * 1024  # bytes
TOO_LARGE = f"The body is larger than {MAX_BODY // 1024} KiB."


class Guard:
    """Refuses cross-site requests other than GET and HEAD, and bodies that are no JSON, compressed or too large.

    Plain ASGI.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        if problem := _refusal(dict(scope["headers"])):
            await problem_response(problem)(scope, receive, send)
            return
        size = 0

        async def receive_within_limit() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > MAX_BODY:
                raise Problem(413, TOO_LARGE)
            return message

        await self._app(scope, receive_within_limit, send)


def _refusal(headers: dict[bytes, bytes]) -> Problem | None:
    """Return the problem of a request that must not reach a route, or None. headers: lower-case names."""
    origin = headers.get(b"origin")
    # Browsers name the site that a request comes from.
    if origin is not None and origin.partition(b"://")[2] != headers.get(b"host"):
        return Problem(403, "Another site may not change anything here.")
    length = headers.get(b"content-length", b"0")
    # A form, which any site may submit without asking, cannot send JSON.
    media_type = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
    has_body = length != b"0" or b"transfer-encoding" in headers
    if (has_body or media_type) and media_type != b"application/json":
        return Problem(415, "The body must be application/json.", headers={"Accept": "application/json"})
    if headers.get(b"content-encoding", b"identity").strip().lower() not in (b"identity", b""):
        return Problem(415, "The body must not be compressed.", headers={"Accept-Encoding": "identity"})
    return Problem(413, TOO_LARGE) if int(length) > MAX_BODY else None
