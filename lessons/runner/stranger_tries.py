"""Runs inside a pod: tries to reach user, rule and their databases, and prints which of them answer, as JSON.

Its first argument is the namespace of the application; on Knative the names of the revisions follow.
"""

import json
import socket
import sys
import urllib.request

# PostgreSQL's SSLRequest; a server responds with one letter to any client.
SSL_REQUEST = bytes([0, 0, 0, 8, 4, 210, 22, 47])
TIMEOUT = 20
PATHS = {"user": "/user/guest", "rule": "/api/rule"}
# It finds a revision by the host, and forwards the request with its own identity.
ACTIVATOR = "http://activator-service.knative-serving.svc.cluster.local"
# One answer is enough. Each service has several pods, and a change may reach one before another.
TRIES = 8


def main(namespace: str, *revisions: str) -> None:
    """Print the parts that answer."""
    found, domain = [], f"{namespace}.svc.cluster.local"
    for name, path in PATHS.items():
        hosts = [f"{revision}.{domain}:80" for revision in revisions if revision.startswith(f"{name}-")]
        requests = [(f"http://{name}.{domain}{path}", {}), *((ACTIVATOR + path, {"Host": host}) for host in hosts)]
        if any(answers(url, headers) for url, headers in requests for _ in range(TRIES)):
            found.append(name)
    found += [
        name for name in ("user-database", "rule-database") if has_server(f"{name}.{namespace}.svc.cluster.local")
    ]
    print(json.dumps(found))


def answers(url: str, headers: dict[str, str]) -> bool:
    """Return whether a service answers what needs no account."""
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - http, as written above
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT):  # noqa: S310 - http, as written above
            return True
    except OSError:
        return False


def has_server(host: str) -> bool:
    """Return whether a database server answers the question whether it speaks TLS."""
    try:
        with socket.create_connection((host, 5432), timeout=TIMEOUT) as server:
            server.sendall(SSL_REQUEST)
            return server.recv(1) in {b"S", b"N"}
    except OSError:
        return False


main(*sys.argv[1:])
