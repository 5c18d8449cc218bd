"""The user interface: static files, kept in memory."""

import gzip
import hashlib
import mimetypes
from functools import cached_property
from pathlib import Path

import brotli
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

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
mimetypes.add_type("text/javascript", ".js")
mimetypes.add_type("application/manifest+json", ".webmanifest")


class File:
    """One file, with its compressed forms, which are made when first asked for."""

    def __init__(self, path: Path) -> None:
        self.content = path.read_bytes()
        media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        self.compressible = media_type.startswith(TEXT_TYPES)
        self.headers = {
            "content-type": f"{media_type}; charset=utf-8" if media_type.startswith("text/") else media_type,
            # Kept by the browser and asked about each time: a new version shows at the next load.
            "cache-control": "no-cache",
            "vary": "accept-encoding",
        }
        self.tag = hashlib.sha256(self.content).hexdigest()[:16]

    @cached_property
    def brotli(self) -> bytes:
        """The content in Brotli (RFC 7932)."""
        compressed: bytes = brotli.compress(self.content, quality=9)
        return compressed

    @cached_property
    def gzip(self) -> bytes:
        """The content in gzip (RFC 1952)."""
        return gzip.compress(self.content, mtime=0)

    def response(self, headers: Headers) -> Response:
        """Return the file in the best form the request takes, or 304 when its copy is current."""
        accepted = headers.get("accept-encoding", "") if self.compressible else ""
        names = {part.strip() for part in accepted.split(",")}
        encoding = next((name for name in ("br", "gzip") if name in names), "")
        tag = f'"{self.tag}{"-" + encoding if encoding else ""}"'
        answer_headers = {**self.headers, "etag": tag}
        if tag in headers.get("if-none-match", ""):
            return Response(None, 304, answer_headers)
        if encoding:
            answer_headers["content-encoding"] = encoding
        content = {"br": lambda: self.brotli, "gzip": lambda: self.gzip}.get(encoding, lambda: self.content)()
        return Response(content, 200, answer_headers)


class Ui:
    """Answers what no route answers: a file, or the page, which then shows what the address means."""

    def __init__(self, directory: Path) -> None:
        self._files = {
            f"/{path.relative_to(directory).as_posix()}": File(path)
            for path in directory.rglob("*")
            if path.is_file() and not path.name.startswith(".")
        }
        self._page = self._files["/index.html"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].startswith("/api/") or scope["method"] not in ("GET", "HEAD"):
            raise Problem(404, "There is nothing at this address.")
        file = self._files.get(scope["path"], self._page)
        await file.response(Headers(scope=scope))(scope, receive, send)
