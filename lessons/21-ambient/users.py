"""The requests of users: `python users.py URL [CA]` reads and writes until it is ended.

It prints a line of JSON each half second: how many requests it has sent, and the statuses of those that failed. It runs
in a pod outside the mesh. CA, as PEM, is the only one that is trusted, if the URL begins with https.
"""

import http.client
import json
import ssl
import sys
import threading
import time
from urllib.parse import urlsplit

READS = ("/api/currentUser", "/api/rule?current=1&pageSize=20")
PAUSE = 0.05


class Person:
    """A client with one persistent connection, which reconnects when it breaks."""

    def __init__(self, url: str, authority: str) -> None:
        host = urlsplit(url).netloc
        self._connection = http.client.HTTPConnection(host, timeout=20)
        if url.startswith("https:"):
            context = ssl.create_default_context(cadata=authority)
            self._connection = http.client.HTTPSConnection(host, timeout=20, context=context)

    def send(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        """Send a request, and return its status, 0 without an answer, and its body."""
        headers = {"Content-Type": "application/json"} if body else {}
        try:
            self._connection.request(method, path, json.dumps(body) if body else None, headers)
            answer = self._connection.getresponse()
            content = answer.read()
            if answer.will_close:
                self._connection.close()
            return answer.status, content
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return 0, b""


class Counted:
    """What was sent, and what failed."""

    def __init__(self) -> None:
        self._lock, self._sent, self._failed = threading.Lock(), 0, list[str]()

    def add(self, what: str, status: int, wanted: int) -> None:
        with self._lock:
            self._sent += 1
            if status != wanted:
                self._failed.append(f"{what} {status}")

    def take(self) -> str:
        with self._lock:
            line = json.dumps({"sent": self._sent, "failed": self._failed})
            self._sent, self._failed = 0, []
            return line


def read(person: Person, path: str, counted: Counted) -> None:
    """Read a path again and again."""
    while True:
        counted.add("GET", person.send("GET", path)[0], 200)
        time.sleep(PAUSE)


def write(person: Person, counted: Counted) -> None:
    """Add an item and delete it, again and again."""
    while True:
        status, body = person.send("POST", "/api/rule", {"name": "Lesson 21"})
        counted.add("POST", status, 201)
        if status == 201:
            status, _ = person.send("DELETE", "/api/rule", {"key": json.loads(body)["key"]})
            counted.add("DELETE", status, 200)
        time.sleep(PAUSE)


def main(url: str, authority: str = "") -> None:
    """Use the application, and print what came of it."""
    counted = Counted()
    for path in READS:
        threading.Thread(target=read, args=(Person(url, authority), path, counted), daemon=True).start()
    threading.Thread(target=write, args=(Person(url, authority), counted), daemon=True).start()
    while True:
        time.sleep(0.5)
        print(counted.take(), flush=True)


main(*sys.argv[1:])
