"""Lesson 2, Canary: one person is served by v2, and nobody else, whatever headers they send."""

from deploy.lessons.check import PROFILE, Check
from deploy.lessons.lesson import About

ABOUT = About(
    title="Canary by person",
    learn="let chosen people try a new version before anybody else",
    look="Reload the page as a guest: the badge says v1, each time. Log in as lesson-alice (password learn-the-mesh): "
    "it says v2, each time. Log out, and it says v1 again.",
    think="lesson-alice's login is a call to user, too. Which version carries it out, and why?",
    places=("laptop", "istio", "ambient"),
    elsewhere={
        "knative": "Knative splits by weights, not by headers.",
    },
)

# At the former 50/50 even 20 requests would all reach one version only once in a million times.
OF_ALICE, OF_GUESTS = 200, 20


def run(check: Check) -> None:
    guest, alice = check.guest(), check.person("lesson-alice")
    served = alice.get(PROFILE, OF_ALICE).by_version()
    check.share(served["v2"], OF_ALICE, 1, "requests of lesson-alice were answered by v2")
    served = guest.get(PROFILE, OF_GUESTS).by_version()
    check.share(served["v1"], OF_GUESTS, 1, "requests of a guest were answered by v1")
    served = guest.get(PROFILE, OF_GUESTS, headers={"end-user": "lesson-alice"}).by_version()
    check.share(served["v1"], OF_GUESTS, 1, "of a guest who sends `end-user: lesson-alice` were answered by v1")
