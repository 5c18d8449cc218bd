"""Lesson 16, Events: a change does not wait for its consumers, and no event is lost or counted twice."""

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

from lessons.runner.check import LIST, Answers, Check, Person
from lessons.runner.lesson import About
from lessons.runner.waiting import wait_until

ABOUT = About(
    title="Events",
    learn="notify a service of a change without waiting for it, so that nothing is lost and nothing counts twice",
    look="On the laptop and on Knative, leave the page alone until user sleeps (`make status`), and mark an item as "
    "done: it is done at once, and a moment later the bell counts it. The panel Request path says which service sent "
    "the event, which consumed it, and after how long. As lesson-alice (password: learn-the-mesh) you find the notices "
    "of this lesson.",
    think="user recorded the event, but was killed before its answer reached rule. What does rule do, and what does "
    "user do then?",
    places=("laptop", "istio", "ambient", "knative"),
    failures="activator: user-",
    sleep=5,
)

ITEMS = 20
KILLS = 3
# On the laptop so many events, copies included, are under way at each kill.
IN_HAND = 8
# Seconds in which half of the changes are answered. In a cluster each comes through `kubectl port-forward`.
QUICK = {"laptop": 0.2, "istio": 1, "ambient": 1, "knative": 1}
# Seconds until pods are there, or gone: on Knative they go a little over two minutes after the last request.
TIMEOUT = 400
# Seconds in which the first events arrive, if any do.
ARRIVAL = 120
# Statuses of an item.
IN_PROGRESS, DONE = 1, 2
# On Istio nothing takes the last pod of a service away, and nothing brings it back: the check does.
SCALE = ("scale", "deployment/user-v1", "deployment/user-v2")


def run(check: Check) -> None:
    alice = check.person("lesson-alice")
    check.all_read(alice)
    keys = alice.add_items("Lesson 16, item", ITEMS)
    # Without events there is nothing to see here, in this or any other place.
    wait_until(lambda: alice.unread() >= ITEMS, "events of rule reach user (`K_SINK= make run` has none)", ARRIVAL)
    check.all_read(alice)

    # A guest reads the list, so that rule stays awake.
    with check.meanwhile(LIST, pause=1):
        try:
            # To kill a process that was never asleep would end `make run`.
            if fell_asleep(check):
                done_while_asleep(check, alice, keys)
                changed_while_killed(check, alice, keys)
        finally:
            wake(check)


def fell_asleep(check: Check) -> bool:
    """Wait until user has no process, and say whether it came to that."""
    if by_hand(check):
        print("  then   kubectl scale: both Deployments of user get 0 pods")
        check.cluster.kubectl(*SCALE, "--replicas=0")
    else:
        print("  then   no request to user for some time")
    asleep = check.eventually(lambda: not consumers(check, leaving=True), TIMEOUT)
    check.that(asleep, "user has no process", "no process of user's (`make traffic` and Gentle traffic keep it awake)")
    return asleep


def wake(check: Check) -> None:
    """Bring user back where the events do not."""
    if by_hand(check):
        check.cluster.kubectl(*SCALE, "--replicas=2")


def done_while_asleep(check: Check, alice: Person, keys: list[str]) -> None:
    """Mark all items as done: the answers do not wait for user, and the events do."""
    started = perf_counter()
    answers = change(alice, keys, DONE)
    good, slowest = len(answers.with_status(200)), max(answer.seconds for answer in answers.all)
    quick = QUICK[check.place.name]
    check.that(
        good == ITEMS and answers.seconds() < quick,
        f"{good} of {ITEMS} items are done: half of the answers took less than {answers.seconds() * 1000:.0f} ms, "
        f"the slowest {slowest * 1000:.0f} ms",
        f"{ITEMS}, half of them in less than {quick * 1000:.0f} ms",
    )
    if by_hand(check):
        print("  then   kubectl scale: user gets its pods back")
        started = perf_counter()
        wake(check)
    check.eventually(lambda: consumers(check), TIMEOUT)
    # Only now is the bell read: that is a call to user, too.
    check.eventually(lambda: alice.unread() >= ITEMS, TIMEOUT)
    seconds = perf_counter() - started
    count = check.unread_in_the_end(alice, ITEMS)
    who = "user is back" if by_hand(check) else "The events woke user up"
    check.that(count == ITEMS, f"{who}, and after {seconds:.1f} s the bell says {count}", str(ITEMS))


def changed_while_killed(check: Check, alice: Person, keys: list[str]) -> None:
    """Change the items again and again while user is killed: each event counts once, though most come twice or more."""
    check.all_read(alice)
    deliveries, killed, enough = Deliveries(check), 0, threading.Event()
    with ThreadPoolExecutor() as pool:
        changing = pool.submit(change_until, enough, alice, keys)
        try:
            for _ in range(KILLS):
                # Some events have arrived since the last kill.
                seen = deliveries.count()
                check.eventually(lambda seen=seen: deliveries.count() > seen + ITEMS and consumers(check), TIMEOUT)
                deliveries.keep()
                killed += kill_in_the_middle(check)
        finally:
            enough.set()
        answers = changing.result()
    good, wanted = len(answers.with_status(200)), len(answers)
    what = "processes" if check.place.name == "laptop" else "pods"
    check.that(good == wanted, f"{killed} {what} of user were killed, and {good} of {wanted} changes succeeded", "all")
    # What user took and could not acknowledge comes once more: until the outbox is empty, and nothing is under way.
    check.eventually(lambda: alice.unread() >= good, TIMEOUT)
    check.eventually(lambda: check.place.outbox() == 0 and not under_way(check), TIMEOUT)
    if check.place.name == "knative" and not check.cluster.has_broker():
        print("  skipped: without Knative Eventing there is no Trigger that could send each event twice")
    else:
        count = deliveries.count()
        check.that(
            count > deliveries.least * good,
            f"{good} events were sent {deliveries.said}{count} times: mirrored copies, and retries after each kill",
            f"more than {deliveries.least * good} times",
        )
    count = check.unread_in_the_end(alice, good)
    check.that(count >= good, f"{max(0, good - count)} of {good} events were lost", "0")
    check.that(count <= good, f"{max(0, count - good)} of {good} events were counted twice: the bell says {count}", "0")


class Deliveries:
    """Counts how often an event was sent to user: on the laptop Envoy does, in a cluster the pods of user do."""

    def __init__(self, check: Check) -> None:
        self._place, self._kept, self._before = check.place, 0, 0
        self._before = self.count()
        # What a pod has counted since the last look is lost with it.
        self.least, self.said = (2, "") if self._place.name == "laptop" else (1, "at least ")

    def count(self) -> int:
        if self._place.name == "laptop":
            now = self._place.proxy_counter("user", None, "upstream_rq_total")
        else:
            now = sum(self._place.requests_served("user", version, "POST") for version in ("v1", "v2"))
        return self._kept + now - self._before

    def keep(self) -> None:
        """Remember what the pods have counted, before they go."""
        if self._place.name != "laptop":
            self._kept, self._before = self.count(), 0


def kill_in_the_middle(check: Check) -> int:
    """Kill what user runs as while it has events in its hands, and return how many these were."""
    alive = consumers(check)
    if check.place.name != "laptop":
        check.cluster.kubectl("delete", "pods", *alive, "--grace-period=0", "--force")
        return len(alive)
    processes = list(map(int, alive))
    try:
        # Frozen, they take events, and finish none.
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        check.eventually(lambda: under_way(check) >= IN_HAND)
    finally:
        for process in processes:
            os.kill(process, signal.SIGKILL)
    return len(processes)


def change_until(enough: threading.Event, alice: Person, keys: list[str]) -> Answers:
    """Reopen and finish all items, again and again until it is enough, then delete them."""
    answers = Answers()
    while not enough.is_set():
        for status in (IN_PROGRESS, DONE):
            answers.all.extend(change(alice, keys, status).all)
    for key in keys:
        answers.all.extend(alice.send("DELETE", LIST, json={"key": key}).all)
    return answers


def change(person: Person, keys: list[str], status: int) -> Answers:
    """Give items a status, one after the other."""
    return Answers([person.send("PUT", LIST, json={"key": key, "status": status}).all[0] for key in keys])


def by_hand(check: Check) -> bool:
    """Say whether the check itself takes the pods of user away, and brings them back."""
    return check.place.name in ("istio", "ambient")


def consumers(check: Check, *, leaving: bool = False) -> list[str]:
    """Return what user runs as: the numbers of its processes, or in a cluster the names of its pods.

    leaving: also of pods that are on their way out.
    """
    if check.place.name == "laptop":
        return [str(process) for name, process in check.laptop.processes().items() if name.startswith("user-")]
    if leaving:
        return check.cluster.kubectl("get", "pods", "--selector=app=user", "--output=name").split()
    return [pod["metadata"]["name"] for pod in check.cluster.pods("app=user")]


def under_way(check: Check) -> int:
    """Return how many events user has not answered yet, on the laptop."""
    return check.place.proxy_counter("user", None, "upstream_rq_active") if check.place.name == "laptop" else 0
