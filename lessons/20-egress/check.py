"""Lesson 20, Egress: calls to hosts outside pass, then none does, then one host is allowed, and is seen."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from lessons.runner.check import PROFILE, Check
from lessons.runner.lesson import About
from lessons.runner.stranger import Stranger

ABOUT = About(
    title="Egress",
    learn="let pods call one host outside and no other, and see who calls it",
    look="Search the counters of the proxy for partner.example: on the laptop `curl -s localhost:15000/stats | grep "
    "partner`. What was refused has no counter of a host.",
    think="A pod must not call stranger.example. Does REGISTRY_ONLY prevent that, if an attacker controls the pod?",
    places=("laptop", "istio", "ambient"),
    elsewhere={
        "knative": "Its pods have the same sidecars as those of the Istio set, and the same two objects are for them.",
    },
)

PARTNER, STRANGER = "partner.example", "stranger.example"
PORT = 8080
SOCKET = Path("data/envoy/egress.sock")
# In ambient-entry.yaml and istio-entry.yaml: the address that the check replaces, and the one that ztunnel has.
PLACEHOLDER, KNOWN = "192.0.2.10", "240.240.20.20"
# Requests of the application, which go on.
REQUESTS = 20

Call = Callable[[str], int]


def run(check: Check) -> None:
    if check.place.name == "laptop":
        through_a_proxy(check, call_from_here, Counters(check, None))
        return
    with outside(check) as (caller, address):
        if check.place.name == "ambient":
            through_the_waypoint(check, caller, address)
        else:
            through_a_proxy(check, lambda host: call(caller, address, host), Counters(check, caller))


def through_a_proxy(check: Check, calls: Call, counters: "Counters") -> None:
    """Check what the proxy of the caller lets pass."""
    reach(check, calls, partner=True, stranger=True)
    count = counters.of("PassthroughCluster")
    said = f"The proxy counted {count} calls under one name for all hosts, PassthroughCluster"
    check.that(count, said, "at least one")
    check.step("registry-only", "only what the registry names may be called")
    reach(check, calls, partner=False, stranger=False)
    answers = check.guest().get(PROFILE, REQUESTS)
    well = len(answers.with_status(200))
    check.that(well == REQUESTS, f"{well} of {REQUESTS} requests to the application were answered meanwhile", "all")
    check.step("entry", f"{PARTNER} is put into the registry")
    reach(check, calls, partner=True, stranger=False)
    count = counters.of(PARTNER)
    check.that(count, f"The proxy counted {count} calls under the name {PARTNER}", "at least one")
    if (refused := counters.refused()) is not None:
        check.that(refused, f"Its log names {refused} refused calls to {STRANGER}", "at least one")


def through_the_waypoint(check: Check, caller: Stranger, address: str) -> None:
    """Check what ztunnel and the waypoint let pass."""
    reach(check, lambda host: call(caller, address, host), partner=True, stranger=True)
    check.step("entry", f"{PARTNER} is put into the registry, behind the waypoint")

    def known(method: str) -> int:
        return call(caller, KNOWN, PARTNER, method)

    check.eventually(lambda: known("GET") == 200, 60)
    check.that(known("GET") == 200, f"{PARTNER}, GET: {said_of(known('GET'))}", "200")
    check.eventually(lambda: known("POST") == 403, 60)
    check.that(known("POST") == 403, f"{PARTNER}, POST: {said_of(known('POST'))}", "403, of the waypoint")
    log = check.cluster.kubectl("logs", "--selector=app=waypoint", "--tail=200")
    seen = sum(PARTNER in line and " 403 " in line for line in log.splitlines())
    check.that(seen, f"The log of the waypoint names {seen} refused calls to {PARTNER}", "at least one")
    answer = call(caller, address, STRANGER)
    check.that(answer == 200, f"{STRANGER}, which no entry names: {said_of(answer)}", "200: ztunnel lets it pass")


class Counters:
    """What the proxy of the caller has counted: on the laptop Envoy, in a cluster the sidecar."""

    def __init__(self, check: Check, caller: Stranger | None) -> None:
        self._check, self._caller = check, caller

    def of(self, host: str) -> int:
        """Return how many calls went to a host, by the name of its cluster."""
        if not self._caller:
            return self._check.laptop.counter(rf"cluster\.{host}\.upstream_rq_total")
        # To what is not in the registry the sidecar opens connections, and does not read requests.
        return self._caller.counter(rf"cluster\.\S*{host};?\S*\.upstream_(rq|cx)_total")

    def refused(self) -> int | None:
        """Return how many refusals the log of the sidecar names, None on the laptop, where Envoy writes none."""
        if not self._caller:
            return None
        return sum(STRANGER in line and " 502 " in line for line in self._caller.log().splitlines())


def reach(check: Check, calls: Call, *, partner: bool, stranger: bool) -> None:
    """Check which of the two hosts answer."""
    for host, wanted in ((PARTNER, partner), (STRANGER, stranger)):
        check.eventually(lambda host=host, wanted=wanted: (calls(host) == 200) == wanted, 60)
        status = calls(host)
        check.that((status == 200) == wanted, f"{host}: {said_of(status)}", "200" if wanted else "a refusal")


def said_of(status: int) -> str:
    """Return words for a status; 0: no answer."""
    return str(status) if status else "no answer, the connection is closed"


def call_from_here(host: str) -> int:
    """Call a host through the socket of the proxy."""
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(SOCKET))) as client:
        try:
            return client.get(f"http://{host}/").status_code
        except httpx.TransportError:
            return 0


@contextmanager
def outside(check: Check) -> Iterator[tuple[Stranger, str]]:
    """Start a pod that calls out, and one elsewhere that plays all hosts; give the former, and the latter's address."""
    with check.cluster.stranger(in_mesh=True) as caller, check.cluster.stranger(elsewhere=True) as server:
        server.python(SERVE)
        address = server.address()
        check.cluster.replaced[PLACEHOLDER] = address
        yield caller, address


SERVE = f"""
import subprocess, sys
quiet = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
subprocess.Popen([sys.executable, "-m", "http.server", "{PORT}"], start_new_session=True, **quiet)
"""

CALL = """
import http.client, sys
address, port, host, method = sys.argv[1:]
try:
    connection = http.client.HTTPConnection(address, int(port), timeout=5)
    connection.request(method, "/", headers={"Host": host})
    print(connection.getresponse().status)
except (OSError, http.client.HTTPException):
    print(0)
"""


def call(caller: Stranger, address: str, host: str, method: str = "GET") -> int:
    """Let a pod call a host at this address, and return the status, 0 without an answer."""
    return int(caller.python(CALL, address, str(PORT), host, method))
