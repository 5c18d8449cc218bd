"""Lesson 11, Zero trust: nobody is trusted for where they are, only for who they are."""

from deploy.lessons.check import Check
from deploy.lessons.lesson import About

ABOUT = About(
    title="Zero trust",
    learn="what a pod reaches that does not belong to the application, and what stops it",
    look="In Kiali, choose Security under Display: a lock on each edge is mutual TLS.",
    think="The pod without a sidecar reached nothing even while the policies were open. What stopped it?",
    places=("istio", "knative"),
    elsewhere="On a laptop all processes are yours, and no pod has an identity.",
)

EVERYTHING = ["user", "rule", "user-database", "rule-database"]


def run(check: Check) -> None:
    cluster = check.cluster
    with (
        cluster.stranger(sidecar=True) as insider,
        cluster.stranger() as plain,
        cluster.stranger(elsewhere=True) as far,
    ):
        strangers = {
            "A pod with a sidecar": insider,
            "A pod without one": plain,
            "A pod without one, in another namespace": far,
        }

        def reach(*expected: list[str]) -> None:
            for (name, stranger), wanted in zip(strangers.items(), expected, strict=True):
                check.eventually(lambda stranger=stranger, wanted=wanted: stranger.reaches() == wanted, 60)
                found = stranger.reaches()
                check.that(found == wanted, f"{name} reaches {said(found)}", said(wanted))

        reach([], [], [])
        check.step("open", "a policy allows everything to everybody in the mesh")
        reach(EVERYTHING, [], [])
        check.back("that policy is taken away")
        reach([], [], [])


def said(parts: list[str]) -> str:
    """Return a list in words."""
    return ", ".join(parts) or "nothing"
