"""Where lessons run: what the laptop and a cluster have in common."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import httpx

from deploy.lessons.lesson import Lesson, PlaceName

# Paths of probes, of Prometheus, and of the keys that verify tokens.
INTERNAL_PATHS = ("/healthz", "/readyz", "/metrics", "/.well-known/jwks.json")


class UnsuitableError(Exception):
    """A command cannot be carried out here; the message says why, in a line."""


class Place(Protocol):
    """A running application whose mesh a lesson can change."""

    name: PlaceName
    # As people know it, such as "`make run` at http://127.0.0.1:3001".
    description: str

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

    def reset(self) -> None:
        """Put everything back to how the application was started, and wait until that is applied."""

    @contextmanager
    def client(self) -> Iterator[httpx.Client]:
        """Give a client that comes through the ingress, as one person with cookies."""

    def requests_served(self, service: str, version: str, method: str = "GET") -> int:
        """Return how many requests of a method the processes of a version have answered, by their own metrics.

        Those for health, metrics and the keys of tokens are not counted.
        """

    def proxy_counter(self, service: str, version: str | None, name: str) -> int:
        """Return a counter of the proxy that calls a service: Envoy's `cluster.<...>.<name>`.

        version: the one whose pods are called, None where the service has no versions of its own in the mesh.
        """


def count_requests(metrics: str, method: str) -> int:
    """Return how many requests a service has answered, except those to internal paths, from the text of its metrics."""
    series = rf'http_request_duration_seconds_count{{method="{method}",route="(.*?)",.*?}}'
    counted = re.findall(rf"^{series} (\S+)$", metrics, re.MULTILINE)
    return sum(int(float(count)) for route, count in counted if route not in INTERNAL_PATHS)
