"""Clients that send the same requests repeatedly."""

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

import httpx

from tests.support import wait_until

ITEM = {"name": "milk", "desc": "two bottles " * 100}


class Callers:
    """Simulated clients, with their responses and response times."""

    def __init__(self, url: str, *methods: str, people: int = 8, pause: float = 0.05) -> None:
        """methods: GET, and POST for another item; pause: seconds between two rounds of a person."""
        self._url, self._methods, self._people, self._pause = url, methods, people, pause
        self._ended = Event()
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.slowest = dict.fromkeys(methods, 0.0)
        self.written: set[str] = set()

    def _call(self) -> None:
        with httpx.Client(timeout=60, trust_env=False) as client:
            while not self._ended.is_set():
                for method in self._methods:
                    started = time.monotonic()
                    answer = client.request(method, self._url, json=ITEM if method == "POST" else None)
                    self.slowest[method] = max(self.slowest[method], time.monotonic() - started)
                    self.statuses[method, answer.status_code] += 1
                    if answer.is_error:
                        assert answer.headers["content-type"] == "application/problem+json", answer.text
                        assert answer.json()["status"] == answer.status_code
                    elif method == "POST":
                        self.written.add(answer.json()["key"])
                self._ended.wait(self._pause)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Start them; each has sent one request before the test continues."""
        with ThreadPoolExecutor(self._people) as threads:
            calls = [threads.submit(self._call) for _ in range(self._people)]
            try:
                wait_until(
                    lambda: self.statuses.total() >= self._people or any(call.done() for call in calls), "answers"
                )
                yield
            finally:
                self._ended.set()
        for call in calls:
            call.result()

    def summary(self) -> str:
        """Return a summary of the responses."""
        return ", ".join(
            f"{count} × {status} for {method}" for (method, status), count in sorted(self.statuses.items())
        ) + "".join(f", the slowest {method} after {seconds:.1f} s" for method, seconds in self.slowest.items())
