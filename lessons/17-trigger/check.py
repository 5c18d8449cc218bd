"""Lesson 17, Trigger: an event is routed by its type, and what a consumer rejects goes to a dead letter sink."""

from lessons.runner.check import LIST, Answer, Answers, Check, Person
from lessons.runner.lesson import About

ABOUT = About(
    title="Trigger",
    learn="route events by type, drop the others, and keep what a failing consumer rejects",
    look="Mark an item as done, and the bell counts it; create, reopen or delete one, and it does not: user no longer "
    "gets these events. The archive is broken now, so what you delete goes to the dead letter sink. The lesson's page "
    "has the command that shows it.",
    think="The archive is repaired. What happens to the events in the dead letter sink?",
    places=("laptop", "knative"),
    broker=True,
    elsewhere=dict.fromkeys(
        ("istio", "ambient"),
        "rule sends its events to user itself, without a broker: a route could send a type elsewhere, but retries "
        "stay with one service, so nothing plays the dead letter sink.",
    ),
)

ITEMS = 10
# So often the archive gets an event that it refuses.
TRIES = 3
# Statuses of an item.
IN_PROGRESS, DONE = 1, 2


def run(check: Check) -> None:
    ready(check)
    alice = check.person("lesson-alice")
    check.all_read(alice)
    by_type(check, alice)
    check.step("broken", "the archive fails: it answers each event with a 500")
    ready(check)
    check.all_read(alice)
    to_the_dead_letter_sink(check, alice)


def by_type(check: Check, alice: Person) -> None:
    """Cause events of four types: one goes to user, one to the archive, and two are dropped."""
    before = taken(check, "archive")
    keys = alice.add_items("Lesson 17, item", ITEMS)
    changes = change(alice, keys, DONE) + change(alice, keys, IN_PROGRESS) + delete(alice, keys)
    good = len(Answers(changes).with_status(200))
    check.that(
        good == 3 * ITEMS, f"{ITEMS} items were created, done, reopened and deleted: four types of events", "all"
    )
    check.eventually(lambda: taken(check, "archive") - before >= ITEMS and alice.unread() >= ITEMS)
    check.eventually(lambda: not check.place.outbox())
    bell, archived = check.unread_in_the_end(alice, ITEMS), taken(check, "archive") - before
    check.that(bell == ITEMS, f"done: {bell} came to user, and the bell counts them", str(ITEMS))
    check.that(archived == ITEMS, f"deleted: {archived} came to the archive", str(ITEMS))
    waiting = check.place.outbox()
    check.that(waiting == 0, f"created, reopened: dropped, and {waiting} events wait at rule", "none waits")


def to_the_dead_letter_sink(check: Check, alice: Person) -> None:
    """Cause events that the archive refuses: they are kept elsewhere, and hold nothing up."""
    refused, kept = taken(check, "archive"), taken(check, "dead-letters")
    keys = alice.add_items("Lesson 17, another item", ITEMS)
    change(alice, keys, DONE)
    delete(alice, keys)
    check.eventually(lambda: taken(check, "dead-letters") - kept >= ITEMS and alice.unread() >= ITEMS, 60)
    check.eventually(lambda: not check.place.outbox())
    tries, dead, waiting = taken(check, "archive") - refused, taken(check, "dead-letters") - kept, check.place.outbox()
    check.that(
        tries == TRIES * ITEMS, f"The archive refused {ITEMS} events, each {TRIES} times: {tries}", str(TRIES * ITEMS)
    )
    check.that(dead == ITEMS, f"{dead} of them are in the dead letter sink, each once: none is lost", str(ITEMS))
    bell = check.unread_in_the_end(alice, ITEMS)
    check.that(
        bell == ITEMS and waiting == 0,
        f"They hold nothing up: the bell counts {bell} that are done, and {waiting} events wait at rule",
        f"{ITEMS}, and none waits",
    )


def ready(check: Check) -> None:
    """In a cluster, wait until the consumers run, and the Triggers know them."""
    if check.place.name == "knative":
        for name in ("archive", "dead-letters"):
            check.cluster.kubectl("rollout", "status", f"deployment/{name}", "--timeout=180s")
        triggers = ("triggers.eventing.knative.dev/user", "triggers.eventing.knative.dev/archive")
        check.cluster.kubectl("wait", *triggers, "--for=condition=Ready", "--timeout=60s")
        # The pod of the first step is gone, and its log with it.
        pods = ("get", "pods", "--selector=app=archive", "--output=name")
        check.eventually(lambda: len(check.cluster.kubectl(*pods).split()) == 1, 60)


def taken(check: Check, consumer: str) -> int:
    """Return how many events a consumer got: by Envoy's counters, or in a cluster by its log."""
    if check.place.name == "laptop":
        return check.place.proxy_counter(consumer, None, "upstream_rq_total")
    log = check.cluster.kubectl("logs", f"--selector=app={consumer}", f"--container={consumer}", "--tail=-1")
    return log.count("todolist.item.")


def change(person: Person, keys: list[str], status: int) -> list[Answer]:
    """Give items a status, one after the other."""
    return [person.send("PUT", LIST, json={"key": key, "status": status}).all[0] for key in keys]


def delete(person: Person, keys: list[str]) -> list[Answer]:
    """Delete items, one after the other."""
    return [person.send("DELETE", LIST, json={"key": key}).all[0] for key in keys]
