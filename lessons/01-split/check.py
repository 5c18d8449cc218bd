"""Lesson 1, Split: requests are split by weights, and none fails while they change."""

from lessons.runner.check import PROFILE, Check
from lessons.runner.lesson import About

ABOUT = About(
    title="Split",
    learn="send a part of the requests to a new version, then all of them",
    look="Reload the page a few times: the badge in the upper right corner now shows v2, each time. "
    "The panel Request path counts the calls to each version. In a cluster, Kiali shows it too: choose Traffic "
    "Distribution for the edges.",
    think="You set 90/10 and send ten requests. How often does v2 answer none of them?",
    places=("laptop", "istio", "ambient", "knative"),
)

# Of 300 requests, 252 to 286 go to v1 at 90/10; at the former 50/50 it would be 121 to 179.
REQUESTS = 300


def run(check: Check) -> None:
    guest = check.guest()
    with check.meanwhile(PROFILE) as others:
        check.share(guest.get(PROFILE, REQUESTS).by_version()["v1"], REQUESTS, 0.9, "requests were answered by v1")
        check.step("all-to-v2", "the weights become 0/100")
        check.share(guest.get(PROFILE, REQUESTS).by_version()["v2"], REQUESTS, 1, "requests were answered by v2")
    check.that(
        others and not others.failed(),
        f"{len(others.failed())} of {len(others)} requests of another client failed while the weights changed",
        "none",
    )
