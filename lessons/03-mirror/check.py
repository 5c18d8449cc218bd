"""Lesson 3, Mirror: v1 answers all, and v2 gets a copy of every read."""

from lessons.runner.check import PROFILE, Check
from lessons.runner.lesson import About

ABOUT = About(
    title="Mirror",
    learn="try a new version with real requests, without its responses reaching users",
    look="Reload the page: the badge shows v1, each time, and the panel Request path counts calls to v1 alone. "
    "In a cluster, Kiali shows that v2 gets as many requests as v1.",
    think="Why are only reads copied, and not registrations?",
    places=("laptop", "istio", "ambient"),
    elsewhere={
        "knative": "Knative's routes cannot copy requests.",
    },
)

# At the former 50/50 each version would count about 50 of them, and never all.
REQUESTS = 100


def run(check: Check) -> None:
    def served(version: str) -> int:
        return check.place.requests_served("user", version)

    before = {version: served(version) for version in ("v1", "v2")}
    answers = check.guest().get(PROFILE, REQUESTS)
    check.share(answers.by_version()["v1"], REQUESTS, 1, "requests were answered by v1")
    # The proxy does not wait for copies, so the last ones may still be in progress.
    check.eventually(lambda: served("v2") - before["v2"] >= REQUESTS)
    for version in ("v1", "v2"):
        count = served(version) - before[version]
        # More, if the page is used meanwhile.
        check.that(count >= REQUESTS, f"{version} counted {count} requests meanwhile", f"at least {REQUESTS}")
