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
ALLOW = {"Allow": "GET, HEAD, OPTIONS"}
# A page has no such address, so it is a file that does not exist: its last part has a dot, or a part starts with one.
FILE = re.compile(r"\.[^/]*$|/\.")


class File:
    """One file as an endpoint (ASGI).

    In memory: Starlette's StaticFiles and servestatic visit a thread for each file, and took ten times as long.
    """

    def __init__(self, path: Path) -> None:
        content = path.read_bytes()
        headers = {
            "content-type": MEDIA_TYPES[path.suffix],
            # Kept by the browser and asked about each time: a new version shows at the next load.
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
        # When it is first needed: all files take as long as a tenth of the start.
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
        """Send the page for an address without a route: its scripts show what the address means."""
        # As a script or an image, the page would be an error that names no cause.
        if scope["path"].startswith("/api/") or FILE.search(scope["path"]):
            raise Problem(404, "There is nothing at this address.")
        await self._page(scope, receive, send)
