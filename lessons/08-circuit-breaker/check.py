"""Lesson 8, Circuit breaker: a short line means a 503 at once for some, and a quick answer for the others."""

from deploy.lessons.check import LIST, Check
from deploy.lessons.lesson import About

ABOUT = About(
    title="Circuit breaker",
    learn="refuse what is too much at once, so that the rest is quick",
    look="Reload the page: the list is there. Run `make traffic RATE=60` in another terminal and reload meanwhile: "
    "often the list cannot be loaded, and the rest of the page is there as ever.",
    think="Some people get an error although rule would have answered them a second later. Why is that better?",
    places=("laptop", "istio"),
    elsewhere={
        "ambient": "Nothing can make rule slow: its pods have no sidecar, and an HTTPRoute knows no faults.",
        "knative": "The queue-proxy in each pod limits its calls there: containerConcurrency.",
    },
    failures="rule .* 503",
)

PEOPLE = 20
# In a long line half of the people wait for ten others or more; in a line of one, for one at most. So it should be a
# fifth of the time, but the machine may be busy, and on Istio rule has several pods.
PART = 0.75


def run(check: Check) -> None:
    guest = check.guest()
    alone = guest.get(LIST, 5)
    waited = guest.get(LIST, PEOPLE, at_once=PEOPLE)
    check.share(len(waited.failed()), PEOPLE, 0, "people at once were refused while the line has room for all")

    check.step("limit", "the line has one place")
    before = refused_by_proxy(check)
    answers = guest.get(LIST, PEOPLE, at_once=PEOPLE)
    counted = refused_by_proxy(check) - before
    served, refused = answers.with_status(200), answers.with_status(503)
    check.that(
        served and refused and len(served) + len(refused) == PEOPLE,
        f"{len(refused)} of {PEOPLE} people at once got a 503, after {refused.seconds():.2f} s",
        "some, not all",
    )
    check.that(
        counted == len(refused),
        f"the proxy says that it refused {counted} calls to rule",
        f"{len(refused)}, as many as got a 503",
    )
    check.that(
        served.seconds() < PART * waited.seconds(),
        f"the others had their list after {served.seconds():.2f} s (in the long line after {waited.seconds():.2f} s, "
        f"one person alone after {alone.seconds():.2f} s)",
        "much sooner than in the long line",
    )


def refused_by_proxy(check: Check) -> int:
    """Return how many calls to rule the proxy of todolist has refused so far because the line was full."""
    return check.place.proxy_counter("rule", None, "upstream_rq_pending_overflow")
