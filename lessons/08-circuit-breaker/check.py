"""Lesson 8, Circuit breaker: a short queue means a fast 503 for some requests, and a fast response to the others."""

from lessons.runner.check import LIST, Check
from lessons.runner.lesson import About

ABOUT = About(
    title="Circuit breaker",
    learn="reject requests beyond a limit at once, so that the others are fast",
    look="Reload the page: the list is there. Run `make traffic RATE=60` in another terminal and reload meanwhile: "
    "often the list cannot be loaded, and the rest of the page works.",
    think="Some users get an error although rule would have answered them a second later. Why is that better?",
    places=("laptop", "istio"),
    elsewhere={
        "ambient": "No delays can be injected: rule has no sidecar, and an HTTPRoute has no fault injection.",
        "knative": "There the queue-proxy in each pod limits concurrency: containerConcurrency.",
    },
    failures="rule .* 503",
)

AT_ONCE = 20
# In a long queue half of the requests wait for ten others or more; in a queue of one, for one at most. So it should be
# a fifth of the time, but the machine may be busy, and on Istio rule has several pods.
PART = 0.75


def run(check: Check) -> None:
    guest = check.guest()
    alone = guest.get(LIST, 5)
    waited = guest.get(LIST, AT_ONCE, at_once=AT_ONCE)
    check.share(len(waited.failed()), AT_ONCE, 0, "concurrent requests were rejected while the queue is long")

    check.step("limit", "the queue has one slot")
    before = rejected_by_proxy(check)
    answers = guest.get(LIST, AT_ONCE, at_once=AT_ONCE)
    counted = rejected_by_proxy(check) - before
    served, rejected = answers.with_status(200), answers.with_status(503)
    check.that(
        served and rejected and len(served) + len(rejected) == AT_ONCE,
        f"{len(rejected)} of {AT_ONCE} concurrent requests got a 503, after {rejected.seconds():.2f} s",
        "some, not all",
    )
    check.that(
        counted == len(rejected),
        f"the proxy counted {counted} rejected requests to rule",
        f"{len(rejected)}, as many as got a 503",
    )
    check.that(
        served.seconds() < PART * waited.seconds(),
        f"the others had their list after {served.seconds():.2f} s (in the long queue after {waited.seconds():.2f} s, "
        f"a single request after {alone.seconds():.2f} s)",
        "much sooner than in the long queue",
    )


def rejected_by_proxy(check: Check) -> int:
    """Return how many requests to rule the proxy of todolist has rejected so far because the queue was full."""
    return check.place.proxy_counter("rule", None, "upstream_rq_pending_overflow")
