"""Lesson 11, Zero trust: requests are authorized by identity, not by where they come from."""

from lessons.runner.check import LIST, PROFILE, Check
from lessons.runner.lesson import About

ABOUT = About(
    title="Zero trust",
    learn="see what a stray pod reaches in the cluster, and what stops it",
    look="In Kiali (`make kiali`), choose Security under Display: a lock on an edge means that this call is encrypted, "
    "and both ends are authenticated.",
    think="Even while everything was allowed, no pod outside the mesh reached a database. What stopped it?",
    places=("istio", "ambient", "knative"),
    elsewhere={
        "laptop": "All processes are yours there, and no pod has an identity.",
    },
)

EVERYTHING = ["user", "rule", "user-database", "rule-database"]


def run(check: Check) -> None:
    cluster = check.cluster
    with (
        cluster.stranger(in_mesh=True) as insider,
        cluster.stranger() as plain,
        cluster.stranger(elsewhere=True) as far,
        # On Knative user and rule would scale to zero, and only todolist may trigger a cold start: so it gets requests.
        check.meanwhile(PROFILE, pause=0.5),
        check.meanwhile(LIST, pause=0.5),
    ):
        strangers = {
            "A pod in the mesh": insider,
            "A pod outside it": plain,
            "A pod outside it, in another namespace": far,
        }

        def reach(*expected: list[str]) -> None:
            for (name, stranger), wanted in zip(strangers.items(), expected, strict=True):
                # Three times in a row: an open connection keeps its policies for up to 45 s.
                check.eventually(lambda who=stranger, what=wanted: all(who.reaches() == what for _ in range(3)), 120)
                found = stranger.reaches()
                check.that(found == wanted, f"{name} reaches {said(found)}", said(wanted))

        reach([], [], [])
        check.step("open", "a policy allows everything in the mesh")
        # Without a sidecar, the names of Knative Services resolve to Knative's gateway, which has its own identity.
        plainly = ["user", "rule"] if cluster.name == "knative" else []
        reach(EVERYTHING, plainly, plainly)
        check.back("that policy is removed")
        reach([], [], [])


def said(parts: list[str]) -> str:
    """Join a list for the output."""
    return ", ".join(parts) or "nothing"
