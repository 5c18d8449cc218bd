"""Where lessons run: what laptop.py and cluster.py (with ambient.py and knative.py) have in common."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import httpx

from lessons.runner.lesson import Lesson, PlaceName

# Paths of probes, of Prometheus, and of the keys that verify tokens.
INTERNAL_PATHS = ("/healthz", "/readyz", "/metrics", "/.well-known/jwks.json")

# A call that takes longer, in milliseconds, is slow. Envoy and Istio have histograms, and this is a bucket boundary.
SLOW = 500


class UnsuitableError(Exception):
    """A command cannot be carried out here; the message says why, in a line."""


@dataclass(frozen=True)
class Figures:
    """What proxies have counted of the calls to a version. failed: with a 5xx; slow: that took longer than SLOW."""

    requests: int = 0
    failed: int = 0
    slow: int = 0

    def __add__(self, more: "Figures") -> "Figures":
        return Figures(self.requests + more.requests, self.failed + more.failed, self.slow + more.slow)

    def __sub__(self, before: "Figures") -> "Figures":
        return Figures(self.requests - before.requests, self.failed - before.failed, self.slow - before.slow)

    def __str__(self) -> str:
        return f"{self.failed} of {self.requests:,} failed, {self.slow} slow"


class Place(Protocol):
    """A running application whose mesh a lesson can change."""

    name: PlaceName

    @property
    def description(self) -> str:
        """What it is and where, such as "`make run` at http://127.0.0.1:3001"."""

    def current(self) -> str | None:
        """Return the name of the lesson that is on."""

    def difference(self, lesson: Lesson, *, comments: bool = False) -> str:
        """Return what the lesson would change, as a diff; on the laptop, with the comments of its file if wanted."""

    def change(self, lesson: Lesson) -> str:
        """Return the text of the lesson's file; "" if it has none for this place."""

    def must_be_on(self) -> None:
        """Raise UnsuitableError if the application is no longer running."""

    def apply(self, lesson: Lesson, step: str = "") -> None:
        """Make a lesson's change, or that of a later step, and wait until it is applied."""

    def present(self, certificate: str) -> None:
        """Let the ingress present a certificate of data/tls/, by the name of its files: ingress, expired or foreign."""

    def reset(self) -> None:
        """Put everything back to how the application was started, and wait until that is applied."""

    @contextmanager
    def client(self) -> Iterator[httpx.Client]:
        """Give a client that comes through the ingress, as one person with cookies."""

    def requests_served(self, service: str, version: str, method: str = "GET") -> int:
        """Return how many requests of a method the processes of a version have answered, by their own metrics.

        Those for health, metrics and the keys of tokens are not counted.
        """

    def split(self, v1: int, v2: int) -> None:
        """Give each version of user its share of the calls, in percent, as `make split` does."""

    def figures(self) -> dict[str, Figures]:
        """Return what the proxies have counted of todolist's calls to each version of user."""

    def outbox(self) -> int:
        """Return how many events wait in the outbox of rule, counted once a second; -1 if it has no process."""

    def proxy_counter(self, service: str, version: str | None, name: str) -> int:
        """Return a counter of the proxy that calls a service: Envoy's `cluster.<...>.<name>`.

        version: the one whose pods are called, None where the service has no versions of its own in the mesh.
        """


def count_requests(metrics: str, method: str) -> int:
    """Return how many requests a service has answered, except those to internal paths, from the text of its metrics."""
    series = rf'http_request_duration_seconds_count{{method="{method}",route="(.*?)",.*?}}'
    counted = re.findall(rf"^{series} (\S+)$", metrics, re.MULTILINE)
    return sum(int(float(count)) for route, count in counted if route not in INTERNAL_PATHS)


def waiting_events(metrics: str) -> int:
    """Return how many events wait in the outbox of rule, from the text of its metrics."""
    return int(float(re.findall(r"^outbox_events (\S+)$", metrics, re.MULTILINE)[0]))
