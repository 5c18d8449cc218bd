"""Lesson 4, Delay: rule responds late to one user, and other requests are not affected."""

from lessons.runner.check import LIST, PROFILE, Check
from lessons.runner.lesson import About

ABOUT = About(
    title="Delay",
    learn="inject a delay for one user, to see what depends on a service",
    look="Log in as lesson-alice (password learn-the-mesh) and reload: her name is there at once, her list 3 s later. "
    "The panel Request path shows how long rule took. A guest's list is not delayed.",
    think="A new item of lesson-alice is not late, although it goes to rule, too. Why?",
    places=("laptop", "istio"),
    elsewhere={
        "ambient": "A waypoint is configured by HTTPRoutes, which have no fault injection.",
        "knative": "Knative has no fault injection.",
    },
)

# The delay in seconds; and the maximum without one, on a busy machine.
DELAY, QUICK = 3, 1


def run(check: Check) -> None:
    alice, guest = check.person("lesson-alice"), check.guest()
    late = alice.get(LIST, 5, at_once=5)
    seconds = min(answer.seconds for answer in late.all)
    check.that(
        seconds >= DELAY and len(late.with_status(200)) == len(late),
        f"{len(late.with_status(200))} of {len(late)} lists of lesson-alice came, the first after {seconds:.1f} s",
        f"all, after {DELAY} s or more",
    )
    for what, answers in (("lesson-alice's profile", alice.get(PROFILE, 10)), ("a guest's list", guest.get(LIST, 10))):
        seconds = answers.seconds()
        check.that(
            seconds < QUICK, f"{what} took {1000 * seconds:.0f} ms (median of {len(answers)})", f"less than {QUICK} s"
        )
