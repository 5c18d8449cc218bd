"""`make audit`, with an index of the test's own."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support import ROOT, free_port

FLAW = {"id": "PYSEC-2099-1", "fixed_in": ["99"], "withdrawn": None}


@contextmanager
def index(vulnerabilities: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    """Serve what is known of these packages, and nothing of `yarl`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.split("/")[1]
            self.send_response(404 if name == "yarl" else 200)
            self.end_headers()
            self.wfile.write(json.dumps({"vulnerabilities": vulnerabilities.get(name, [])}).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def audit(url: str) -> tuple[int, list[str]]:
    command = [sys.executable, "requirements/audit.py", url]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert not ended.stderr
    return ended.returncode, ended.stdout.splitlines()


def test_a_known_vulnerability_fails_and_is_named() -> None:
    with index({"fastapi": [FLAW], "starlette": [{**FLAW, "withdrawn": "2099-01-01T00:00:00Z"}]}) as url:
        code, lines = audit(url)
    assert code == 1
    flaw, unknown, total = lines
    assert flaw.startswith("fastapi ")
    assert flaw.endswith(": PYSEC-2099-1, fixed in 99")
    assert unknown.startswith("Not audited: yarl ")
    assert int(total.removeprefix("1 known vulnerabilities in ").removesuffix(" releases")) > 100


def test_an_unavailable_vulnerability_index_is_no_failure() -> None:
    code, lines = audit(f"http://127.0.0.1:{free_port()}")
    assert code == 0
    assert lines[-1].startswith("No audit: ")
