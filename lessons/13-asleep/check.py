"""Lesson 13, Asleep and awake: services without a pod, and what the first request pays."""

from datetime import UTC, datetime
from typing import Any

from deploy.lessons.check import LIST, PROFILE, Check
from deploy.lessons.lesson import About

ABOUT = About(
    title="Asleep and awake",
    learn="let services have no pod until somebody calls, and see how long the first call waits",
    look="Leave the page alone for three minutes, with Gentle traffic off, and reload it: the panel Request path marks "
    "each call that woke a service up with a snowflake, and says how long it took.",
    think="user and rule are both asleep. Why does the page wait for one cold start and not for two?",
    places=("knative",),
    elsewhere=dict.fromkeys(("laptop", "istio", "ambient"), "Only Knative takes the last pod of a service away."),
)

ASLEEP = "app in (user, rule)"
PEOPLE = 50


def run(check: Check) -> None:
    cluster = check.cluster
    sleep(check)
    (profile,) = check.guest().get(PROFILE).all
    check.that(profile.status == 200, f"The first profile took {profile.seconds:.1f} s", "an answer")
    for pod in cluster.pods("app=user"):
        for what, seconds in parts(pod):
            print(f"         {seconds:5.1f} s  {what}")
    sleep(check)
    guest = check.guest()
    answers = guest.get(LIST, PEOPLE, at_once=PEOPLE)
    good = len(answers.with_status(200))
    check.that(good == PEOPLE, f"{good} of {PEOPLE} people who came at once to a sleeping rule got their list", "all")


def sleep(check: Check) -> None:
    """Wait until user and rule have no pod: a little over two minutes after the last request."""
    print("  then   nobody calls for some minutes")
    gone = check.eventually(
        lambda: not check.cluster.kubectl("get", "pods", f"--selector={ASLEEP}", "--output=name"), 400
    )
    check.that(gone, "user and rule fell asleep", "no pod of theirs after 400 s (`make traffic` keeps them awake)")


def parts(pod: Any) -> list[tuple[str, float]]:
    """Return what happened before a pod was ready, and how many seconds after its creation, as Kubernetes noted it."""
    began = time_of(pod["metadata"]["creationTimestamp"])
    ready = {item["type"]: time_of(item["lastTransitionTime"]) for item in pod["status"]["conditions"]}
    marks = [("it was given to a node", ready.get("PodScheduled", began))]
    for status in pod["status"].get("initContainerStatuses", []) + pod["status"].get("containerStatuses", []):
        state = status["state"].get("running") or status["state"].get("terminated") or {}
        if "startedAt" in state:
            marks.append((f"{status['name']} started", time_of(state["startedAt"])))
    marks.append(("all of it was ready", ready.get("Ready", began)))
    marks.sort(key=lambda mark: mark[1])
    return [(what, (at - began).total_seconds()) for what, at in marks]


def time_of(text: str) -> datetime:
    """Return a time as Kubernetes writes it."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
