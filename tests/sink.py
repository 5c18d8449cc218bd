"""A sink for events: an HTTP server that records requests, and responds as a test configures."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support import free_port


class Sink(ThreadingHTTPServer):
    """Accepts every event, unless `status` rejects it."""

    daemon_threads = True
    request_queue_size = 200

    def __init__(self, port: int, status: Callable[[dict[str, str], bytes], int]) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{port}/events"
        # Of each request, in order: its headers, in lower case, and its body.
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.status = status

    def handle_error(self, *_: Any) -> None:
        """Do not log a sender that has died."""

    def types(self, subject: str) -> list[str]:
        """Return the types of an owner's events, each once, in the order of their times."""
        events = {headers["ce-id"]: headers for headers, _ in list(self.got) if headers.get("ce-subject") == subject}
        return [event["ce-type"] for event in sorted(events.values(), key=lambda event: event["ce-time"])]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Sink

    def do_POST(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers["content-length"]))
        if len(body) < int(headers["content-length"]):
            # The sender has died.
            self.close_connection = True
            return
        self.server.got.append((headers, body))
        status = self.server.status(headers, body)
        # A body that cannot be decoded: only the status counts.
        answer = b"" if status == 204 else b"no gzip"
        self.send_response(status)
        self.send_header("content-encoding", "gzip")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *arguments: Any) -> None:
        pass


@contextmanager
def running_sink(status: Callable[[dict[str, str], bytes], int] = lambda *_: 204, port: int = 0) -> Iterator[Sink]:
    """Start a sink. status: what it answers to a request with these headers and this body."""
    with Sink(port or free_port(), status) as sink:
        threading.Thread(target=sink.serve_forever, args=[0.05], daemon=True).start()
        try:
            yield sink
        finally:
            sink.shutdown()
