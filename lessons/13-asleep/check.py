"""Lesson 13, Asleep and awake: services scaled to zero, and the cold start of the first request."""

import shutil
import subprocess
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from lessons.runner.check import LIST, PROFILE, Answer, Check, show
from lessons.runner.lesson import About

ABOUT = About(
    title="Asleep and awake",
    learn="scale services to zero until a request comes, and see how long the cold start takes",
    look="Leave the page alone, with Gentle traffic off: ten seconds on the laptop, three minutes on Knative. Then "
    "reload it: in the panel Request path a snowflake marks each call that waited for a cold start, with its duration.",
    think="user and rule are both asleep. Why does the page wait for one cold start and not for two?",
    places=("laptop", "knative"),
    elsewhere=dict.fromkeys(("istio", "ambient"), "Istio does not scale pods, so it never scales to zero."),
    sleep=5,
)

ASLEEP = "app in (user, rule)"
AT_ONCE = 50
# The phases of a cold start on the laptop, by the point at which each ends: see start_of in lessons/runner/laptop.py.
PARTS = {
    "process": "the process: the activator detects the connection, and starts it",
    "python": "Python starts",
    "imports": "imports: FastAPI, SQLAlchemy and the rest",
    "application": "the application: settings, routes, database",
    "answer": "the first response",
}


def run(check: Check) -> None:
    if check.place.name == "laptop":
        on_the_laptop(check)
    else:
        on_knative(check)
    guest = check.guest()
    answers = guest.get(LIST, AT_ONCE, at_once=AT_ONCE)
    good = len(answers.with_status(200))
    check.that(good == AT_ONCE, f"{good} of {AT_ONCE} concurrent requests to a sleeping rule got their list", "all")


def on_the_laptop(check: Check) -> None:
    laptop = check.laptop
    awake = memory(laptop.processes().values())
    print(f"  then   no request for {ABOUT.sleep} seconds")
    fell_asleep(check)
    check.that(
        not laptop.processes(),
        f"Awake, user and rule took {awake} MiB; asleep {memory(laptop.processes().values())}, beside "
        f"{memory(laptop.activators())} for the activators that hold their sockets",
        "no process",
    )

    def ask(path: str) -> tuple[Answer, float]:
        return guest.get(path).all[0], time.time()

    guest, sent_at = check.guest(), time.time()
    with ThreadPoolExecutor() as pool:
        # As the page does: both at the same time.
        (profile, profile_at), (items, items_at) = pool.map(ask, (PROFILE, LIST))
    check.that(
        all(
            answer.status == 200 and "-woken-" in answer.headers.get("server-timing", "") for answer in (profile, items)
        ),
        f"The first page took {max(profile_at, items_at) - sent_at:.2f} s: cold starts of user and rule",
        "two responses, from processes after a cold start",
    )
    show_parts(check, "user", profile, sent_at, profile_at)
    show_parts(check, "rule", items, sent_at, items_at)
    print(f"  then   no request for {ABOUT.sleep} seconds")
    fell_asleep(check)


def fell_asleep(check: Check) -> None:
    """Wait until user and rule have no process on the laptop."""
    gone = check.eventually(lambda: not check.laptop.processes(), 60)
    check.that(
        gone,
        "user and rule fell asleep: they have no process",
        "no process of theirs after a minute (`make traffic` and Gentle traffic keep them awake)",
    )


def show_parts(check: Check, service: str, answer: Answer, sent_at: float, answered_at: float) -> None:
    """Print the phases of a cold start. sent_at, answered_at: in seconds since 1970."""
    if not (version := answer.version(service)):
        return
    print(f"         {service} {version}:")
    reached = {**check.laptop.start_of(service, version), "answer": answered_at}
    before = sent_at
    for point, what in PARTS.items():
        show(f"         {reached[point] - before:5.2f} s  {what}")
        before = reached[point]


def memory(processes: Iterable[int]) -> int:
    """Return the memory of processes in MiB; 0 if there is no `ps`."""
    numbers = ",".join(map(str, processes))
    if not numbers or not (ps := shutil.which("ps")):
        return 0
    said = subprocess.run((ps, "-o", "rss=", "-p", numbers), capture_output=True, text=True, check=False).stdout  # noqa: S603
    return round(sum(map(int, said.split())) / 1024)


def on_knative(check: Check) -> None:
    sleep(check)
    (profile,) = check.guest().get(PROFILE).all
    check.that(profile.status == 200, f"The first profile took {profile.seconds:.1f} s", "a response")
    for pod in check.cluster.pods("app=user"):
        for what, seconds in parts(pod):
            print(f"         {seconds:5.1f} s  {what}")
    sleep(check)


def sleep(check: Check) -> None:
    """Wait until user and rule have no pod: a little over two minutes after the last request."""
    print("  then   no request for some minutes")
    gone = check.eventually(
        lambda: not check.cluster.kubectl("get", "pods", f"--selector={ASLEEP}", "--output=name"), 400
    )
    check.that(gone, "user and rule fell asleep", "no pod of theirs after 400 s (`make traffic` keeps them awake)")


def parts(pod: Any) -> list[tuple[str, float]]:
    """Return the phases until a pod was ready, with the seconds since its creation, as Kubernetes recorded them."""
    began = time_of(pod["metadata"]["creationTimestamp"])
    ready = {item["type"]: time_of(item["lastTransitionTime"]) for item in pod["status"]["conditions"]}
    marks = [("it was scheduled to a node", ready.get("PodScheduled", began))]
    for status in pod["status"].get("initContainerStatuses", []) + pod["status"].get("containerStatuses", []):
        state = status["state"].get("running") or status["state"].get("terminated") or {}
        if "startedAt" in state:
            marks.append((f"{status['name']} started", time_of(state["startedAt"])))
    marks.append(("all containers were ready", ready.get("Ready", began)))
    marks.sort(key=lambda mark: mark[1])
    return [(what, (at - began).total_seconds()) for what, at in marks]


def time_of(text: str) -> datetime:
    """Return a time as Kubernetes writes it."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
