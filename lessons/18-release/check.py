"""Lesson 18, Release by metrics: a release goes on, or back, by what the proxies have counted."""

import runpy
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import perf_counter

from deploy.local import certificates
from lessons.runner.check import PROFILE, Check, show
from lessons.runner.lesson import About
from lessons.runner.place import Figures

ABOUT = About(
    title="Release by metrics",
    learn="shift traffic to a new version step by step while its metrics are good, or roll it back",
    look="Switch on Gentle traffic in the panel Request path, reset its counts, and start the lesson once more: the "
    "bar of the split follows the steps, up to v2 alone, and goes back to v1 twice.",
    think="A release fails for one user in ten thousand, in every read. What happens to it here?",
    places=("laptop", "istio"),
    elsewhere={
        "ambient": "Nothing can make v2 fail: its pods have no sidecar, and an HTTPRoute has no fault injection.",
        "knative": "A new split takes Knative some seconds, and the lesson requires less than one.",
    },
    failures="user .* 502",
)

HERE = Path(__file__).parent
RELEASE = runpy.run_path(str(HERE / "release.py"))
release, needed, STEPS = RELEASE["release"], RELEASE["needed"], RELEASE["STEPS"]
# Enough to see that no call goes to v2, which had at least 5 % of them.
FEW, AT_ONCE = 100, 20
# The releases of v2: the step that brings each, what it is, and whether it is to pass.
RELEASES = (
    ("", "", True),
    ("failing", "fails in 3 % of the reads", False),
    ("slow", "is slow in one read of ten", False),
)
# Seconds in which v2 has no more calls, from the decision on.
BACK = 1


def run(check: Check) -> None:
    guest = check.guest()
    answers = guest.get(PROFILE, FEW, at_once=AT_ONCE)
    check.share(answers.by_version()["v1"], FEW, 1, "reads were answered by v1, and v2 waits for its release")
    if check.failures:
        # The weights are others: there is nothing to release.
        return
    if check.place.name == "istio" and not check.cluster.has("service", "prometheus", namespace="istio-system"):
        print("  skipped: this needs the Prometheus of `make install-kiali`")
        return
    wanted = ", ".join(f"{needed(percent)} at {percent} %" for percent in STEPS)
    show(f"         Reads of v2 that show a bad one, with a certainty of 99.9 %: {wanted}")
    with profile_reads(check) as (reading, failed):

        def figures() -> dict[str, Figures]:
            if reading.done():
                # It broke off, and says why.
                reading.result()
            return check.place.figures()

        for step, what, is_good in RELEASES:
            if step:
                check.place.split(100, 0)
                check.step(step, f"a release of v2 that {what}")
                new_pods(check)
            one_release(check, figures, what, is_good=is_good)
    check.that(sum(failed) > 0, f"{sum(failed)} reads failed meanwhile: the price of finding out", "some")


def one_release(check: Check, figures: Callable[[], dict[str, Figures]], what: str, *, is_good: bool) -> None:
    """Release v2, and check that it passes, or is back at 0 in time."""
    guest, decided = check.guest(), 0.0

    def split(v1: int, v2: int) -> None:
        nonlocal decided
        decided = perf_counter()
        check.place.split(v1, v2)

    passed = release(split, figures, lambda line: show(f"         {line}"))
    if is_good:
        check.that(passed, "A good release has all the calls", "it passes all steps")
        return
    check.that(not passed, f"A release that {what} does not pass", "it is found out")
    sent = 0.0

    def is_back() -> bool:
        nonlocal sent
        sent = perf_counter()
        return guest.get(PROFILE, FEW, at_once=AT_ONCE).by_version()["v1"] == FEW

    seconds = sent - decided if check.eventually(is_back) else float("inf")
    said = f"Of {FEW} reads that were sent {seconds:.2f} s after the decision, none came to v2"
    check.that(seconds < BACK, said, f"this, after less than {BACK} s")


def new_pods(check: Check) -> None:
    """In a cluster, give v2 new pods, as a release does: connections to the former ones know nothing of a change."""
    if check.place.name == "istio":
        check.cluster.kubectl("rollout", "restart", "deployment/user-v2")
        check.cluster.kubectl("rollout", "status", "deployment/user-v2", "--timeout=180s")
        # What Prometheus gets from each pod of todolist now is of no former release.
        for _ in range(4):
            before = check.place.figures()
            check.eventually(lambda before=before: check.place.figures() != before, 60)


@contextmanager
def profile_reads(check: Check) -> Iterator[tuple[Future[None], list[int]]]:
    """Read the profile all the time, and collect how many reads failed."""
    ended, failed = threading.Event(), list[int]()
    with ExitStack() as stack, ThreadPoolExecutor(1) as pool:
        read = reader(check, stack)

        def read_on() -> None:
            while not ended.is_set():
                failed.append(int(read()))

        try:
            yield pool.submit(read_on), failed
        finally:
            ended.set()


def reader(check: Check, stack: ExitStack) -> Callable[[], str]:
    """Return what runs reads.py for two seconds: on the laptop a process, in a cluster a pod outside the mesh."""
    program, seconds = HERE / "reads.py", "2"
    if check.place.name == "laptop":
        with check.place.client() as client:
            url = str(client.base_url)
        authority = certificates.CA.read_text(encoding="utf-8") if url.startswith("https:") else ""
        command = (sys.executable, str(program), url, seconds, authority)
        return lambda: subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603 - our own
    pod = stack.enter_context(check.cluster.stranger())
    url, authority = check.cluster.address_inside(), check.cluster.authority()
    return lambda: pod.python(program.read_text(encoding="utf-8"), url, seconds, authority)
