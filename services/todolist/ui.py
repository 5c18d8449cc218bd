"""The user interface: static files, kept in memory."""

import gzip
import hashlib
import mimetypes
from functools import partial
from pathlib import Path

import brotli
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from services.chassis.problems import Problem

# Everything comes from our own files, and nothing may be written into the page as text that runs.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "font-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)
TEXT_TYPES = ("text/", "application/json", "application/manifest+json", "image/svg+xml")
# RFC 7932 and RFC 1952, the better one first.
ENCODINGS = {"br": partial(brotli.compress, quality=9), "gzip": partial(gzip.compress, mtime=0)}
mimetypes.add_type("text/javascript", ".js")
mimetypes.add_type("application/manifest+json", ".webmanifest")


class File:
    """One file and its answers: each is made when it is first asked for, and kept."""

    def __init__(self, path: Path) -> None:
        self._content = path.read_bytes()
        media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        self._encodings = ENCODINGS if media_type.startswith(TEXT_TYPES) else {}
        self._headers = {
            "content-type": f"{media_type}; charset=utf-8" if media_type.startswith("text/") else media_type,
            # Kept by the browser and asked about each time: a new version shows at the next load.
            "cache-control": "no-cache",
            "vary": "accept-encoding",
        }
        self._tag = hashlib.sha256(self._content).hexdigest()[:16]
        self._answers: dict[tuple[str, bool], Response] = {}

    def response(self, headers: Headers) -> Response:
        """Return the file in the best form the request takes, or 304 when its copy is current."""
        encoding = self._best_encoding(headers.get("accept-encoding", ""))
        is_current = self._tag_of(encoding) in headers.get("if-none-match", "")
        answer = self._answers.get((encoding, is_current))
        if answer is None:
            answer = self._answers[encoding, is_current] = self._make(encoding, is_current)
        return answer

    def _best_encoding(self, accepted: str) -> str:
        names = [part.strip() for part in accepted.split(",")]
        return next((name for name in self._encodings if name in names), "")

    def _tag_of(self, encoding: str) -> str:
        return f'"{self._tag}-{encoding}"' if encoding else f'"{self._tag}"'

    def _make(self, encoding: str, is_current: bool) -> Response:
        headers = {**self._headers, "etag": self._tag_of(encoding)}
        if is_current:
            return Response(None, 304, headers)
        if not encoding:
            return Response(self._content, 200, headers)
        return Response(self._encodings[encoding](self._content), 200, {**headers, "content-encoding": encoding})


class Ui:
    """The files of a directory, the first of them index.html: the page."""

    def __init__(self, directory: Path) -> None:
        self._files = {
            f"/{path.relative_to(directory).as_posix()}": File(path)
            for path in directory.rglob("*")
            if path.is_file() and not path.name.startswith(".")
        }
        self._page = self._files["/"] = self._files["/index.html"]

    def before(self, app: ASGIApp) -> ASGIApp:
        """Return a layer that answers the requests for files, and leaves the others to the application."""

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            file = self._files.get(scope["path"]) if scope.get("method") in ("GET", "HEAD") else None
            await (file.response(Headers(scope=scope)) if file else app)(scope, receive, send)

        return serve

    async def fallback(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what no route answers with the page, which then shows what the address means."""
        if scope["path"].startswith("/api/") or scope["method"] not in ("GET", "HEAD"):
            raise Problem(404, "There is nothing at this address.")
        await self._page.response(Headers(scope=scope))(scope, receive, send)
