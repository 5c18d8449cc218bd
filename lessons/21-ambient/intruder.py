"""A caller without permission: `python intruder.py NAMESPACE` tries to reach user, rule and their databases.

It tries until it is ended, and prints a line of JSON after each round: how many tries that were, and what was allowed.
"""

import http.client
import json
import socket
import sys
import time

PATHS = {"user": "/user/guest", "user-v1": "/user/guest", "rule": "/api/rule"}
DATABASES = ("user-database", "rule-database")
# PostgreSQL's SSLRequest; a server responds with one letter to any client.
SSL_REQUEST = bytes([0, 0, 0, 8, 4, 210, 22, 47])


def calls(host: str, path: str) -> bool:
    """Say whether a service answers with content."""
    connection = http.client.HTTPConnection(host, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def connects(host: str) -> bool:
    """Say whether a database server answers."""
    try:
        with socket.create_connection((host, 5432), timeout=2) as server:
            server.sendall(SSL_REQUEST)
            return server.recv(1) in {b"S", b"N"}
    except OSError:
        return False


def main(namespace: str) -> None:
    """Try all, again and again."""
    domain = f"{namespace}.svc.cluster.local"
    while True:
        allowed = [name for name, path in PATHS.items() if calls(f"{name}.{domain}", path)]
        allowed += [name for name in DATABASES if connects(f"{name}.{domain}")]
        print(json.dumps({"sent": len(PATHS) + len(DATABASES), "failed": allowed}), flush=True)
        time.sleep(0.2)


main(sys.argv[1])
