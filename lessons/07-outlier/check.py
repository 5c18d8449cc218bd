"""Lesson 7, Outlier detection: a process that keeps failing is ejected, and returns when it is healthy."""

from lessons.runner.check import PROFILE, Answers, Check
from lessons.runner.lesson import About

ABOUT = About(
    title="Outlier detection",
    learn="eject a process that fails, and let it return",
    look="Switch on Gentle traffic in the panel Request path, and start the lesson once more: for a few seconds "
    "only v1 answers, then both do. The check meets the failures, so you may see none.",
    think="Both versions begin to fail at the same time. What happens to the two?",
    places=("laptop", "istio"),
    elsewhere={
        "ambient": "No failures can be injected: v2 has no sidecar, and an HTTPRoute has no fault injection.",
        "knative": "A Knative Service has no setting for it.",
    },
    failures="user .* 502",
)

# Half of them would go to v2. All are answered long before its ejection ends.
REQUESTS = 60
# Enough to see whether v2 is ejected: otherwise half of them fail.
FEW = 30


def run(check: Check) -> None:
    guest, first, last = check.guest(), Answers(), Answers()

    def is_ejected() -> bool:
        answers = guest.get(PROFILE, FEW)
        first.all.extend(answers.all)
        return not answers.failed()

    def is_back() -> bool:
        last.all = guest.get(PROFILE, FEW).all
        return last.by_version()["v2"] > 0 and not last.failed()

    check.that(
        check.eventually(is_ejected) and first.failed(),
        f"{len(first.failed())} requests failed, then v2 was ejected",
        "a few failures, then none",
    )
    answers = guest.get(PROFILE, REQUESTS)
    check.share(len(answers.failed()), REQUESTS, 0, "requests failed while v2 was ejected")
    check.share(answers.by_version()["v1"], REQUESTS, 1, "requests were answered by v1")

    check.step("healed", "v2 is healthy again, and its ejection ends")
    check.eventually(lambda: guest.get(PROFILE).by_version()["v2"], 60)
    check.that(
        check.eventually(is_back),
        f"v2 is back: it answered {last.by_version()['v2']} of {FEW} requests, and {len(last.failed())} failed",
        "v2 gets requests again, and none fails",
    )
