"""Lesson 15, Roll back: a bad release gets no traffic, or is rolled back in one step."""

from lessons.runner.check import PROFILE, Check
from lessons.runner.lesson import About

ABOUT = About(
    title="Roll back",
    learn="keep traffic from a bad release, or roll it back in one step",
    look="The panel Request path counts the calls to user that failed while the second release was running.",
    think="The second release was ready, and yet it was wrong. What would have detected it before a user did?",
    places=("istio", "ambient", "knative"),
    elsewhere={
        "laptop": "`make run` starts one process of each version, and there are no readiness probes.",
    },
)

REQUESTS = 200


def run(check: Check) -> None:
    guest = check.guest()
    arrived = check.eventually(lambda: pods(check), 60)
    check.that(arrived, "The next release of user has started, with a mistake in the address of its database", "a pod")
    # On Knative both versions may be scaled to zero.
    check.eventually(lambda: not guest.get(PROFILE, 20).failed())
    answers = guest.get(PROFILE, REQUESTS)
    check.that(
        not answers.failed(),
        f"It does not become ready, so it gets no requests: {len(answers.failed())} of {REQUESTS} requests failed",
        "none",
    )
    check.step("wrong", "another release is ready, but returns wrong responses")
    check.eventually(lambda: guest.get(PROFILE, 20).failed(), 120)
    answers = guest.get(PROFILE, REQUESTS)
    check.that(
        answers.failed(),
        f"{len(answers.failed())} of {REQUESTS} requests failed: ready does not mean correct",
        "some",
    )
    check.back("it is rolled back")
    answers = guest.get(PROFILE, REQUESTS)
    check.that(not answers.failed(), f"{len(answers.failed())} of {REQUESTS} requests failed", "none")


def pods(check: Check) -> list[object]:
    """Return the pods of the next release."""
    return check.cluster.pods("app=user,version=next" if check.cluster.name == "knative" else "app=user,release=next")
