"""`python reads.py URL SECONDS [CA]` reads the profile again and again, and prints how many reads failed.

CA, as PEM, is the only one that is trusted, if the URL begins with https.

Beside the check, so that it has a processor of its own: on the laptop as a process, in a cluster in a pod.
"""

import http.client
import ssl
import sys
import threading
import time
from urllib.parse import urlsplit

AT_ONCE = 8


def main(url: str, seconds: str, authority: str = "") -> None:
    """Read for so long."""
    end = time.monotonic() + float(seconds)
    failed: list[int] = []
    readers = [threading.Thread(target=read, args=(connection_to(url, authority), end, failed)) for _ in range(AT_ONCE)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    print(len(failed))


def connection_to(url: str, authority: str) -> http.client.HTTPConnection:
    """Return a connection that is opened with its first request."""
    host = urlsplit(url).netloc
    if url.startswith("https:"):
        return http.client.HTTPSConnection(host, timeout=20, context=ssl.create_default_context(cadata=authority))
    return http.client.HTTPConnection(host, timeout=20)


def read(connection: http.client.HTTPConnection, end: float, failed: list[int]) -> None:
    """Read until the end. failed: gets the statuses of those that failed."""
    while time.monotonic() < end:
        try:
            connection.request("GET", "/api/currentUser")
            answer = connection.getresponse()
            answer.read()
            status = answer.status
        except (OSError, http.client.HTTPException):
            connection.close()
            status = 0
        if status != 200:
            failed.append(status)


main(*sys.argv[1:])
