"""Lesson 2, Canary: v2 serves one user only, whatever headers other clients send."""

from lessons.runner.check import PROFILE, Check
from lessons.runner.lesson import About

ABOUT = About(
    title="Canary by user",
    learn="route chosen users to a new version before all others",
    look="Reload the page as a guest: the badge shows v1, each time. Log in as lesson-alice (password learn-the-mesh): "
    "it shows v2, each time. Log out, and it shows v1 again.",
    think="lesson-alice's login is a request to user, too. Which version handles it, and why?",
    places=("laptop", "istio", "ambient"),
    elsewhere={
        "knative": "Knative splits by weights, not by headers.",
    },
)

# At the former 50/50 all of 20 requests would reach one version only once in a million times.
OF_ALICE, OF_GUESTS = 200, 20


def run(check: Check) -> None:
    guest, alice = check.guest(), check.person("lesson-alice")
    served = alice.get(PROFILE, OF_ALICE).by_version()
    check.share(served["v2"], OF_ALICE, 1, "requests of lesson-alice were answered by v2")
    served = guest.get(PROFILE, OF_GUESTS).by_version()
    check.share(served["v1"], OF_GUESTS, 1, "requests of a guest were answered by v1")
    served = guest.get(PROFILE, OF_GUESTS, headers={"end-user": "lesson-alice"}).by_version()
    check.share(served["v1"], OF_GUESTS, 1, "of a guest who sends `end-user: lesson-alice` were answered by v1")
