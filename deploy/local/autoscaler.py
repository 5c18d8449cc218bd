"""Scales services of `make run` to zero: after a while without requests, by Envoy's statistics.

The same on Knative, and the differences:
- Here the *autoscaler* reads two of Envoy's statistics of each service, once a second: requests sent to it, and open
  connections. Knative's autoscaler reads the number of concurrent requests, averaged over the last minute, from a proxy
  in each pod, `queue-proxy`, and from the activator.
- Here a service has no process or one. There pods are also added when each has more requests than its target.
- Here no traffic has to be rerouted before a process stops: the socket stays open (activator.py). There the service is
  first routed to the activator, which takes up to half a minute, then the last pod stops.
- In both, health checks must not count as requests. Envoy has none here.
"""

import os
import re
import signal
import time
from collections.abc import Callable
from contextlib import suppress

import httpx

from deploy.local import sleepers

STATISTICS = re.compile(r"^cluster\.(\S+)\.upstream_(rq_total|cx_active): (\d+)$", re.MULTILINE)
FILTER = rf"^cluster\.({'|'.join(sleepers.NAMES)})\.upstream_(rq_total|cx_active)$"


def scale(admin: str, is_over: Callable[[], bool]) -> None:
    """Scale services to zero after sleepers.after() seconds, until is_over. admin: the URL of Envoy's admin page."""
    totals: dict[str, int] = {}
    last_used = dict.fromkeys(sleepers.NAMES, 0.0)
    with httpx.Client(base_url=admin, timeout=1, trust_env=False) as client:
        while not is_over():
            time.sleep(1)
            now, after = time.monotonic(), sleepers.after()
            counted = statistics(client) if after else {}
            for name, sleeper in sleepers.read().items():
                total, connections = counted.get((name, "rq_total")), counted.get((name, "cx_active"))
                # An open connection may carry a request at any moment; Envoy closes idle ones after 2 s.
                if not sleeper.process or connections != 0 or total != totals.get(name):
                    last_used[name] = now
                # Read again: a lesson may have ended meanwhile.
                elif after == sleepers.after() and now - last_used[name] >= after:
                    with suppress(ProcessLookupError):
                        os.kill(sleeper.activator, signal.SIGUSR1)
                totals[name] = total or 0


def statistics(client: httpx.Client) -> dict[tuple[str, str], int]:
    """Return Envoy's statistics by cluster and name; empty if it does not answer."""
    try:
        text = client.get("/stats", params={"filter": FILTER}).text
    except httpx.TransportError:
        return {}
    return {(cluster, name): int(value) for cluster, name, value in STATISTICS.findall(text)}
