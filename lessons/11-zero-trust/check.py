"""Lesson 11, Zero trust: nobody is trusted for where they are, only for who they are."""

from deploy.lessons.check import LIST, PROFILE, Check
from deploy.lessons.lesson import About

ABOUT = About(
    title="Zero trust",
    learn="see what a stray pod reaches in the cluster, and what stops it",
    look="In Kiali (`make kiali`), choose Security under Display: a lock on an edge means that this call is encrypted, "
    "and that both ends have proved who they are.",
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
        # On Knative user and rule would fall asleep, and only todolist may wake them up: so somebody uses the page.
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
                # Three times in a row: a connection that is open keeps its policies for up to 45 s.
                check.eventually(lambda who=stranger, what=wanted: all(who.reaches() == what for _ in range(3)), 120)
                found = stranger.reaches()
                check.that(found == wanted, f"{name} reaches {said(found)}", said(wanted))

        reach([], [], [])
        check.step("open", "everything is allowed to everybody in the mesh")
        # Without a sidecar, the names of Knative Services lead to Knative's gateway, which calls with its own identity.
        plainly = ["user", "rule"] if cluster.name == "knative" else []
        reach(EVERYTHING, plainly, plainly)
        check.back("that is taken back")
        reach([], [], [])


def said(parts: list[str]) -> str:
    """Return a list in words."""
    return ", ".join(parts) or "nothing"
