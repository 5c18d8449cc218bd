"""Simulated users of the todo application: mostly reads, and a few writes.

Guests and users with an account, so that both databases are read and both names of the guest occur. Items are deleted
again; the accounts, named `traffic-…`, stay.
Failed requests are counted and do not stop it, so it can start before the application. At the end it prints the split
of the calls to user, then a summary of each kind of request.
"""

import logging
import os
import re
import secrets
import sys
import textwrap
from collections import Counter
from typing import Any

from locust import HttpUser, constant_throughput, events, task
from locust.env import Environment

# On Knative a version is a revision, such as user-v1.
SERVED_BY = re.compile(r'desc="user/(?:user-)?(v\d)@')
split: Counter[str] = Counter()
# Columns of a terminal; and which part of the rate counts as reached.
WIDTH, ENOUGH = 79, 0.9


class Guest(HttpUser):
    """A guest who reads the demonstration list; each request is one task, so the rate is exact."""

    host = os.environ.get("TRAFFIC_URL", "http://127.0.0.1:3001")
    # Requests a second of each simulated user, at most.
    RATE = float(os.environ.get("TRAFFIC_RATE", "1"))
    wait_time = constant_throughput(RATE)

    def on_start(self) -> None:
        """Set the Host header, if the ingress routes by host name, and trust the local CA, if it serves HTTPS."""
        if name := os.environ.get("TRAFFIC_HOST"):
            self.client.headers["Host"] = name
        if authority := os.environ.get("TRAFFIC_CA"):
            self.client.verify = authority

    @task(3)
    def profile(self) -> None:
        """Load the name in the corner."""
        self.client.get("/api/currentUser")

    @task(3)
    def items(self) -> None:
        """Load the first page."""
        self.client.get("/api/rule?current=1&pageSize=20", name="/api/rule")


class Member(Guest):
    """A user with an account, who adds an item, finishes it and deletes it again."""

    registered = False
    item: dict[str, Any] | None = None

    @task(3)
    def write(self) -> None:
        """Take the next step: register, add, finish, delete."""
        if not self.registered:
            account = {"userName": f"traffic-{secrets.token_hex(4)}", "password": secrets.token_urlsafe(16)}
            self.registered = self.client.post("/user/register", json=account).ok
        elif not self.item:
            answer = self.client.post("/api/rule", json={"name": "milk"})
            self.item = answer.json() if answer.ok else None
        elif self.item["status"] != 2:
            answer = self.client.put("/api/rule", json={"key": self.item["key"], "status": 2})
            self.item = answer.json() if answer.ok else None
        else:
            self.client.delete("/api/rule", json={"key": self.item["key"]})
            self.item = None

    def on_stop(self) -> None:
        """Delete the item that is left."""
        if self.item:
            self.client.delete("/api/rule", json={"key": self.item["key"]})


@events.request.add_listener
def count(response: Any = None, **_: Any) -> None:
    """Count which version of user answered, from todolist's own header."""
    timing = response.headers.get("server-timing", "") if response is not None and response.headers else ""
    split.update(SERVED_BY.findall(timing))


@events.init.add_listener
def keep(environment: Environment, **_: Any) -> None:
    """Print our own summary at the end: Locust's tables have 150 columns."""
    logging.getLogger("locust.stats_logger").disabled = True

    @events.quit.add_listener
    def tell(**_: Any) -> None:
        try:
            print(summary(environment), flush=True)
        except BrokenPipeError:
            # `make traffic | head`: nor may what is left fail when Python ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def summary(environment: Environment) -> str:
    """Return the split, then a line for each kind of request, and of failure."""
    total = split.total()
    parts = (f"{version} {count} ({count / total:.0%})" for version, count in sorted(split.items()))
    lines = [f"Calls to user: {total}   {'   '.join(parts)}", ""]
    lines.append(f"{'':<24}{'requests':>10}{'failed':>8}{'median':>12}{'slowest':>12}")
    for (name, method), entry in sorted(environment.stats.entries.items()):
        times = f"{entry.median_response_time:>9.0f} ms{entry.max_response_time:>9.0f} ms"
        lines.append(f"{method:<7}{name:<17}{entry.num_requests:>10}{entry.num_failures:>8}{times}")
    errors = environment.stats.errors.values()
    for error in errors:
        said = f"{error.occurrences} failed: {error.method} {error.name}: {error.error}"
        lines += textwrap.wrap(said, WIDTH, subsequent_indent="  ")
    users = environment.parsed_options.num_users if environment.parsed_options else 0
    reached, wanted = environment.stats.total.total_rps, Guest.RATE * users
    if reached < ENOUGH * wanted:
        said = (
            f"Only {reached:.1f} of {wanted:g} requests a second were reached: "
            f"each of {users} users waits for an answer before it sends the next request."
        )
        lines += textwrap.wrap(said, WIDTH, subsequent_indent="  ")
    return "\n".join(lines)
