"""People who read: `python reads.py URL SECONDS` reads the profile again and again, and prints how many reads failed.

Beside the check, so that it has a processor of its own: on the laptop as a process, in a cluster in a pod.
"""

import http.client
import sys
import threading
import time
from urllib.parse import urlsplit

AT_ONCE = 8


def main(url: str, seconds: str) -> None:
    """Read for so long."""
    host, end = urlsplit(url).netloc, time.monotonic() + float(seconds)
    failed: list[int] = []
    readers = [threading.Thread(target=read, args=(host, end, failed)) for _ in range(AT_ONCE)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    print(len(failed))


def read(host: str, end: float, failed: list[int]) -> None:
    """Read until the end. failed: gets the statuses of those that failed."""
    connection = http.client.HTTPConnection(host, timeout=20)
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
