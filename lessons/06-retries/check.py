"""Lesson 6, Retries: a proxy retries failed reads, and never a write."""

from lessons.runner.check import PROFILE, Check
from lessons.runner.lesson import About

ABOUT = About(
    title="Retries",
    learn="retry reads that fail, and never a write",
    look="Reload the page a few times: it has a name in the corner, though half of the requests to v2 fail. In the "
    "panel Request path, some calls to v2 take longer than the others: these were retried.",
    think="v2 fails because it is overloaded, and each request that fails is retried five times. What happens?",
    places=("laptop", "istio"),
    elsewhere={
        "ambient": "No failures can be injected: v2 has no sidecar, and an HTTPRoute has no fault injection.",
        "knative": "A Knative Service has no setting for retries.",
    },
    failures="user .* 502",
)

# Half of the requests go to v2, and half of those fail. Of 150, that is 21 to 56.
REQUESTS, FAILING = 150, 0.25
# With retries a read fails only when v2 fails six times in a row. Of 150, that is 0 to 6.
STILL_FAILING = 0.5 * 0.5**6
# Envoy's default limit of concurrent retries.
AT_ONCE = 3
# Rejected by user itself, because the password is too short: so it costs nothing, and no account is created.
REGISTRATION = {"userName": "lesson-carol", "password": "short"}


def run(check: Check) -> None:
    guest = check.guest()
    # In a cluster, open connections have no faults until the sidecar of v2 closes them, within 45 s.
    check.eventually(lambda: len(guest.get(PROFILE, 40, at_once=AT_ONCE).failed()) > 4, 60)
    reads = guest.get(PROFILE, REQUESTS, at_once=AT_ONCE)
    check.share(len(reads.failed()), REQUESTS, FAILING, "reads failed without retries")

    check.step("retries", "reads that fail with a 502 are retried, up to five times")
    before = calls(check)
    reads = guest.get(PROFILE, REQUESTS, at_once=AT_ONCE)
    sent = calls(check) - before
    check.share(len(reads.failed()), REQUESTS, STILL_FAILING, "reads failed with retries")
    check.that(sent > REQUESTS, f"{REQUESTS} reads became {sent} requests to user", f"more than {REQUESTS}")

    before = calls(check)
    writes = guest.send("POST", "/user/register", REQUESTS, json=REGISTRATION, at_once=AT_ONCE)
    sent = calls(check) - before
    check.share(len(writes.failed()), REQUESTS, FAILING, "writes failed, as before")
    check.that(sent == REQUESTS, f"{REQUESTS} writes became {sent} requests to user", f"{REQUESTS}: each is sent once")


def calls(check: Check) -> int:
    """Return how many requests the proxy of todolist has sent to user so far, including retries."""
    return sum(check.place.proxy_counter("user", version, "upstream_rq_total") for version in ("v1", "v2"))
