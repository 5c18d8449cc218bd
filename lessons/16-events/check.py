"""Lesson 16, Events: a change does not wait for who wants to know of it, and no event is lost or counted twice."""

import json
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

from deploy.lessons.check import LIST, PROFILE, Answers, Check, Person
from deploy.lessons.lesson import About

ABOUT = About(
    title="Events",
    learn="let a service know of a change without waiting for it, so that nothing is lost and nothing counts twice",
    look="Leave the page alone for ten seconds, so that user sleeps, and mark an item as done: it is done at once, and "
    "a moment later the bell counts it. The panel Request path says which service sent the event, which took it, and "
    "after how long. As lesson-alice (password: learn-the-mesh) you find the notices of this lesson.",
    think="user recorded the event, but was killed before its answer reached rule. What does rule do, and what does "
    "user do then?",
    places=("laptop",),
    elsewhere=dict.fromkeys(("istio", "ambient", "knative"), "It is not written for clusters yet."),
    failures="activator: user-",
    sleep=5,
)

ITEMS = 20
KILLS = 3
# So many events, copies included, are under way at each kill.
IN_HAND = 8
# Statuses of an item.
IN_PROGRESS, DONE = 1, 2


def run(check: Check) -> None:
    alice = check.person("lesson-alice")
    read_all(check, alice)
    created = [alice.send("POST", LIST, json={"name": f"Lesson 16, item {number + 1}"}) for number in range(ITEMS)]
    keys = [json.loads(answers.all[0].body)["key"] for answers in created]
    check.eventually(lambda: bell(alice) >= ITEMS)
    read_all(check, alice)

    print(f"  then   no request to user for {ABOUT.sleep} seconds")
    # A guest reads the list, so that rule stays awake.
    with check.meanwhile(LIST, pause=1):
        asleep = check.eventually(lambda: not consumers(check), 60)
        check.that(
            asleep,
            "user fell asleep: it has no process",
            "no process of user's after a minute (`make traffic` and Gentle traffic keep it awake)",
        )
        if not asleep:
            # To kill a process that was never asleep would end `make run`.
            return
        done_while_asleep(check, alice, keys)
        changed_while_killed(check, alice, keys)


def done_while_asleep(check: Check, alice: Person, keys: list[str]) -> None:
    """Mark all items as done: the answers do not wait for user, and the events wake it up."""
    started = perf_counter()
    answers = change(alice, keys, DONE)
    good, slowest = len(answers.with_status(200)), max(answer.seconds for answer in answers.all)
    check.that(
        good == ITEMS and answers.seconds() < 0.2,
        f"{good} of {ITEMS} items are done: half of the answers took less than {answers.seconds() * 1000:.0f} ms, "
        f"the slowest {slowest * 1000:.0f} ms",
        f"{ITEMS}, half of them in less than 200 ms",
    )
    check.eventually(lambda: consumers(check))
    # Only now somebody looks at the bell: that is a call to user, too.
    check.eventually(lambda: bell(alice) >= ITEMS)
    seconds = perf_counter() - started
    count = final_bell(check, alice, ITEMS)
    check.that(count == ITEMS, f"The events woke user up, and after {seconds:.1f} s the bell says {count}", str(ITEMS))


def changed_while_killed(check: Check, alice: Person, keys: list[str]) -> None:
    """Change the items again and again while user is killed: each event counts once, though most come twice or more."""
    read_all(check, alice)
    before = check.place.proxy_counter("user", None, "upstream_rq_total")

    def sent() -> int:
        return check.place.proxy_counter("user", None, "upstream_rq_total") - before

    killed, enough = 0, threading.Event()
    with ThreadPoolExecutor() as pool:
        changing = pool.submit(change_until, enough, alice, keys)
        try:
            for _ in range(KILLS):
                # Some events have arrived since the last kill.
                seen = sent()
                check.eventually(lambda seen=seen: sent() > seen + ITEMS and consumers(check), 60)
                killed += kill_in_the_middle(check)
        finally:
            enough.set()
        answers = changing.result()
    good, wanted = len(answers.with_status(200)), len(answers)
    said = f"{killed} processes of user were killed, and {good} of {wanted} changes succeeded"
    check.that(good == wanted, said, "all")
    # What user took and could not acknowledge comes once more: until the outbox is empty, and nothing is under way.
    check.eventually(lambda: bell(alice) >= good, 60)
    check.eventually(lambda: not check.laptop.outbox() and not under_way(check), 60)
    deliveries = sent()
    check.that(
        deliveries > 2 * good,
        f"{good} events were sent {deliveries} times: copies on purpose, and again after each kill",
        f"more than {2 * good} times",
    )
    count = final_bell(check, alice, good)
    check.that(count >= good, f"{max(0, good - count)} of {good} events were lost", "0")
    check.that(count <= good, f"{max(0, count - good)} of {good} events were counted twice: the bell says {count}", "0")


def kill_in_the_middle(check: Check) -> int:
    """Kill the processes of user while they have events in their hands, and return how many these were."""
    processes = consumers(check)
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


def consumers(check: Check) -> list[int]:
    """Return the processes of user."""
    return [process for name, process in check.laptop.processes().items() if name.startswith("user-")]


def under_way(check: Check) -> int:
    """Return how many events user has not answered yet."""
    return check.place.proxy_counter("user", None, "upstream_rq_active")


def bell(person: Person) -> int:
    """Return how many notices a person has not read; -1 if there was no answer."""
    (answer,) = person.get(PROFILE).all
    return int(json.loads(answer.body)["unreadCount"]) if answer.status == 200 else -1


def final_bell(check: Check, person: Person, expected: int) -> int:
    """Return what the bell says when no more comes: each process of user may say what was true a second ago."""
    check.eventually(lambda: bell(person) > expected, 2)
    return bell(person)


def read_all(check: Check, person: Person) -> None:
    """Mark all notices of a person as read, and wait until each process of user knows it."""
    person.send("PUT", "/api/notices", json={"read": True})
    check.eventually(lambda: not any(bell(person) for _ in range(6)))
