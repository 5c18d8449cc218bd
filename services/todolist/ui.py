"""The user interface: static files, kept in memory."""

import gzip
import hashlib
import re
from pathlib import Path

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from services.chassis.problems import Problem

# What browsers are told with every answer.
BROWSER_HEADERS = {
    # Everything comes from our own files, and nothing may be written into the page as text that runs.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
# All of them are text, and worth compressing.
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# A page has no such address, so it is a file that does not exist: its last part has a dot, or a part starts with one.
FILE = re.compile(r"\.[^/]*$|/\.")


class File:
    """One file and its answers: each is created when it is first asked for, and kept."""

    def __init__(self, path: Path) -> None:
        self._content = path.read_bytes()
        self._headers = {
            "content-type": MEDIA_TYPES[path.suffix],
            # Kept by the browser and asked about each time: a new version shows at the next load.
            "cache-control": "no-cache",
            "vary": "accept-encoding",
            # Weak (RFC 9110, 8.8.1), as it is the same with and without compression.
            "etag": f'W/"{hashlib.sha256(self._content).hexdigest()[:16]}"',
        }
        self._answers: dict[tuple[bool, bool], Response] = {}

    def response(self, scope: Scope) -> Response:
        """Return the file, compressed if the request takes that, or 304 when the browser's copy is current."""
        headers = dict(scope["headers"])
        compressed = b"gzip" in headers.get(b"accept-encoding", b"").replace(b" ", b"").split(b",")
        is_current = self._headers["etag"].encode() in headers.get(b"if-none-match", b"")
        if (compressed, is_current) not in self._answers:
            self._answers[compressed, is_current] = self._create(compressed, is_current)
        return self._answers[compressed, is_current]

    def _create(self, compressed: bool, is_current: bool) -> Response:
        if is_current:
            return Response(None, 304, self._headers)
        if compressed:
            return Response(gzip.compress(self._content, mtime=0), 200, {**self._headers, "content-encoding": "gzip"})
        return Response(self._content, 200, self._headers)


class Ui:
    """The files of a directory; index.html is the page."""

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
            await (file.response(scope) if file else app)(scope, receive, send)

        return serve

    async def fallback(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the page for an address without a route: its scripts show what the address means."""
        # As a script or an image, the page would be an error that names no cause.
        if scope["path"].startswith("/api/") or FILE.search(scope["path"]) or scope["method"] not in ("GET", "HEAD"):
            raise Problem(404, "There is nothing at this address.")
        await self._page.response(scope)(scope, receive, send)
