"""Runs inside a pod: tries to reach each part of the application and prints what came of it, as JSON."""

import json
import socket
import sys
import urllib.error
import urllib.request

# PostgreSQL's question whether it speaks TLS; it answers with one letter to anybody.
SSL_REQUEST = bytes([0, 0, 0, 8, 4, 210, 22, 47])
TIMEOUT = 60


def http(name: str) -> str:
    """Ask a service for something that needs no account."""
    path = {"user": "/user/guest", "rule": "/api/rule"}[name]
    try:
        with urllib.request.urlopen(f"http://{name}.{sys.argv[1]}.svc.cluster.local{path}", timeout=TIMEOUT) as answer:
            return f"reached: {answer.status}"
    except urllib.error.HTTPError as error:
        return f"refused: {error.code}"
    except (OSError, urllib.error.URLError) as error:
        return f"refused: {error}"


def postgres(name: str) -> str:
    """Ask a database server whether it speaks TLS."""
    try:
        with socket.create_connection((f"{name}.{sys.argv[1]}.svc.cluster.local", 5432), timeout=TIMEOUT) as server:
            server.sendall(SSL_REQUEST)
            return "reached" if server.recv(1) in {b"S", b"N"} else "refused: closed"
    except OSError as error:
        return f"refused: {error}"


found = {name: http(name) for name in ("user", "rule")}
found |= {name: postgres(name) for name in ("user-database", "rule-database")}
print(json.dumps(found))
