"""Decides when a service of `make run` falls asleep: when it has had no request for a while, by Envoy's counters.

What does the same on Knative, and what is different there:
- Here the *autoscaler* looks at two counters of Envoy for each service, once a second: how many requests it has sent
  there, and how many connections it has. Knative's autoscaler gets its figures from a proxy in each pod, `queue-proxy`,
  and from the activator: how many requests are under way, as a mean over the last minute.
- Here there are two sizes, no process and one. There it also adds pods when each has more requests than it should take.
- Here nothing has to be led elsewhere before a process goes: the socket stays (activator.py). There the address of the
  service first leads to the activator, for up to half a minute, and then the last pod goes.
- Here and there whatever looks whether a service is well must not count as a caller. Envoy has no health checks here.
"""

import os
import re
import signal
import time
from collections.abc import Callable
from contextlib import suppress

import httpx

from deploy.local import sleepers

COUNTERS = re.compile(r"^cluster\.(\S+)\.upstream_(rq_total|cx_active): (\d+)$", re.MULTILINE)
FILTER = rf"^cluster\.({'|'.join(sleepers.NAMES)})\.upstream_(rq_total|cx_active)$"


def scale(admin: str, is_over: Callable[[], bool]) -> None:
    """Let services sleep as sleepers.after() says, until it is over. admin: where Envoy's administration is."""
    totals: dict[str, int] = {}
    last_used = dict.fromkeys(sleepers.NAMES, 0.0)
    with httpx.Client(base_url=admin, timeout=1, trust_env=False) as client:
        while not is_over():
            time.sleep(1)
            now, after = time.monotonic(), sleepers.after()
            counted = counters(client) if after else {}
            for name, sleeper in sleepers.read().items():
                total, connections = counted.get((name, "rq_total")), counted.get((name, "cx_active"))
                # An open connection may carry a request at any moment: Envoy closes what it has not used for 2 s.
                if not sleeper.process or connections != 0 or total != totals.get(name):
                    last_used[name] = now
                # Read again: a lesson may just have ended.
                elif now - last_used[name] >= after == sleepers.after():
                    with suppress(ProcessLookupError):
                        os.kill(sleeper.activator, signal.SIGUSR1)
                totals[name] = total or 0


def counters(client: httpx.Client) -> dict[tuple[str, str], int]:
    """Return Envoy's counters by cluster and name; none when it does not answer."""
    try:
        text = client.get("/stats", params={"filter": FILTER}).text
    except httpx.TransportError:
        return {}
    return {(cluster, name): int(value) for cluster, name, value in COUNTERS.findall(text)}
