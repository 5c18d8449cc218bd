"""The user interface: static files, kept in memory."""

import gzip
import hashlib
import re
from functools import cached_property
from pathlib import Path

from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from services.chassis.problems import Problem

# Security headers of every response.
BROWSER_HEADERS = {
    # Only our own files are loaded, no inline scripts or styles; Trusted Types forbid HTML from strings.
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
ALLOW = {"Allow": "GET, HEAD, OPTIONS"}
# Paths of missing files, not of pages: the last segment has a dot, or a segment starts with one.
FILE = re.compile(r"\.[^/]*$|/\.")


class File:
    """One file as an endpoint (ASGI).

    In memory: Starlette's StaticFiles and servestatic use a thread for each file, and took ten times as long.
    """

    def __init__(self, path: Path) -> None:
        content = path.read_bytes()
        headers = {
            "content-type": MEDIA_TYPES[path.suffix],
            # Cached by the browser, and revalidated each time: a new version shows at the next load.
            "cache-control": "no-cache",
            "vary": "accept-encoding",
            # Weak (RFC 9110, 8.8.1), as it is the same with and without compression.
            "etag": f'W/"{hashlib.sha256(content).hexdigest()[:16]}"',
        }
        self._etag = headers["etag"].encode()
        self._content, self._headers = content, headers
        self._unchanged = Response(None, 304, headers)
        self._plain = Response(content, 200, headers)

    @cached_property
    def _compressed(self) -> Response:
        # On first use: compressing all files would take a tenth of the start.
        return Response(gzip.compress(self._content, mtime=0), 200, {**self._headers, "content-encoding": "gzip"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        if scope["method"] == "OPTIONS":
            await Response(None, 204, ALLOW)(scope, receive, send)
            return
        if scope["method"] != "GET":
            raise Problem(405, "A file can only be read.", headers=ALLOW)
        if self._etag in headers.get(b"if-none-match", b""):
            response = self._unchanged
        elif b"gzip" in headers.get(b"accept-encoding", b"").replace(b" ", b"").split(b","):
            response = self._compressed
        else:
            response = self._plain
        await response(scope, receive, send)


class Ui:
    """The files of a directory; index.html is the page."""

    def __init__(self, directory: Path) -> None:
        files = {
            f"/{path.relative_to(directory).as_posix()}": File(path)
            for path in directory.rglob("*")
            if path.is_file() and not path.name.startswith(".")
        }
        self._page = files["/index.html"]
        self.routes = [Route(path, file) for path, file in {"/": self._page, **files}.items()]

    async def fallback(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the page for a path without a route: its scripts interpret the path."""
        # A missing script or image must be a 404: served the page instead, it fails with an unrelated error.
        if scope["path"].startswith("/api/") or FILE.search(scope["path"]):
            raise Problem(404, "There is nothing at this address.")
        await self._page(scope, receive, send)
