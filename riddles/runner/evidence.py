"""What proves an answer: measures of a running application, which print their figures.

A sealed truth names the measures that prove it, with their arguments. Each holds only while its fault is there.
"""

import json
from collections.abc import Callable
from statistics import median
from typing import Any

from lessons.runner.check import LIST, PROFILE, Answers, Check
from lessons.runner.lesson import PlaceName
from lessons.runner.waiting import wait_until
from riddles.runner import beside

SEARCH = f"{LIST}?name=milk"
VERSIONS = ("v1", "v2")
# What an answer takes without a fault, at most, on a busy machine.
QUICK = 0.5


def fails(check: Check, version: str, status: int, share: float, requests: int) -> None:
    """A share of the calls that arrive at one version of user fails, and no call to the other."""
    other = next(one for one in VERSIONS if one != version)
    guest = check.guest()
    # In a cluster, an open connection does not get the fault: a proxy closes it first.
    warm_up(check, lambda: guest.get(PROFILE, 40, at_once=4).failed())
    before = {one: calls(check, one, f"upstream_rq_{status}") for one in VERSIONS}
    answers = guest.get(PROFILE, requests, at_once=4)
    check.share(len(answers.with_status(status)), requests, share / 2, f"profiles are a {status}")
    by_version = answers.with_status(200).by_version()
    check.that(
        by_version[other] > by_version[version],
        f"of the others, {by_version[other]} came from {other} and {by_version[version]} from {version}",
        f"more from {other}",
    )
    if has_counters(check):
        failed = {one: calls(check, one, f"upstream_rq_{status}") - before[one] for one in VERSIONS}
        check.that(
            failed[version] and not failed[other],
            f"the proxy's counters upstream_rq_{status} of user rose by {failed[version]} for {version} and by "
            f"{failed[other]} for {other}",
            f"only for {version}",
        )


def goes_to_one(check: Check, version: str, requests: int) -> None:
    """All calls to user are answered by one version, though the weights are equal."""
    other = next(one for one in VERSIONS if one != version)
    before = calls(check, other, "upstream_rq_total")
    answers = check.guest().get(PROFILE, requests)
    check.share(answers.by_version()[version], requests, 1, f"profiles came from {version}; the weights say half")
    if has_counters(check):
        sent = calls(check, other, "upstream_rq_total") - before
        check.share(sent, requests, 0.5, f"calls were sent to {other}, as the proxy counts them (upstream_rq_total)")


def is_ejected(check: Check, version: str, requests: int) -> None:
    """One version of user fails now and then, and is out of the traffic nearly all the time."""
    other = next(one for one in VERSIONS if one != version)
    guest, met = check.guest(), Answers()

    def ejections() -> int:
        return sum(calls(check, one, "outlier_detection.ejections_active") for one in VERSIONS)

    def is_out() -> bool:
        met.all.extend(guest.get(PROFILE, 20).all)
        return ejections() >= len(VERSIONS) and not guest.get(PROFILE, 60).by_version()[version]

    # In a cluster each pod of todolist ejects each pod of the version on its own; a single one that is left answers
    # every twelfth request.
    check.eventually(is_out, 120)
    before = check.place.requests_served("user", version)
    answers = guest.get(PROFILE, requests)
    check.share(answers.by_version()[other], requests, 1, f"profiles came from {other}; the weights say half")
    served = check.place.requests_served("user", version) - before
    check.that(served == 0, f"{version} itself counts {served} requests meanwhile", "0")
    out = ejections()
    check.that(
        out >= len(VERSIONS),
        f"the proxy's counters outlier_detection.ejections_active of user are {out} together, after "
        f"{len(met.failed())} failures",
        "2 or more: it is out of both pools",
    )


def is_repeated(check: Check, service: str, requests: int) -> None:
    """Reads are repeated, and so many more calls are sent than there are requests."""
    guest = check.guest()
    versions = VERSIONS if service == "user" else (None,)

    def sum_of(name: str) -> int:
        return sum(check.place.proxy_counter(service, version, name) for version in versions)

    warm_up(check, lambda: sum_of("upstream_rq_retry") and guest.get(PROFILE, 20))
    calls, retries = sum_of("upstream_rq_total"), sum_of("upstream_rq_retry")
    answers = guest.get(PROFILE if service == "user" else LIST, requests, at_once=4)
    calls, retries = sum_of("upstream_rq_total") - calls, sum_of("upstream_rq_retry") - retries
    check.that(
        calls > 1.4 * requests,
        f"{requests} requests became {calls} calls to {service} (upstream_rq_total)",
        f"more than {1.4 * requests:.0f}",
    )
    check.that(
        retries > 0.4 * requests,
        f"{retries} of them are retries (upstream_rq_retry)",
        f"more than {0.4 * requests:.0f}",
    )
    check.that(
        len(answers.failed()) < requests / 10,
        f"and {len(answers.failed())} of the {requests} requests failed",
        "fewer than a tenth",
    )


def is_copied(check: Check, service: str, version: str, requests: int) -> None:
    """Each read arrives twice at the service, without a retry."""

    def served() -> int:
        return check.place.requests_served(service, version)

    def retries() -> int:
        # A waypoint's counters are not read.
        return check.place.proxy_counter(service, None, "upstream_rq_retry") if has_counters(check) else 0

    before, retried = served(), retries()
    answers = check.guest().get(LIST, requests)
    # No caller waits for a copy, so the last ones may still be under way.
    check.eventually(lambda: served() - before >= 2 * requests, 10)
    seen = served() - before
    check.that(
        seen >= 2 * requests and len(answers.with_status(200)) == requests,
        f"{requests} lists were requested and returned, and {service} itself counts {seen} requests",
        f"at least {2 * requests}",
    )
    if has_counters(check):
        check.that(retries() == retried, f"{retries() - retried} of them are retries (upstream_rq_retry)", "0")


def gives_up(check: Check, seconds: float, ambient: float, requests: int) -> None:
    """Searches are a 504 after a time in which other calls would be given longer; lists are there."""
    guest = check.guest()
    seconds = ambient if check.place.name == "ambient" else seconds
    warm_up(check, lambda: len(guest.get(SEARCH, requests, at_once=requests).with_status(504)) == requests)
    before = check.place.proxy_counter("rule", None, "upstream_rq_timeout") if has_counters(check) else 0
    searches = guest.get(SEARCH, requests, at_once=requests)
    given_up = searches.with_status(504)
    check.that(
        len(given_up) == requests and seconds <= given_up.seconds() < seconds + QUICK,
        f"{len(given_up)} of {requests} searches are a 504, after {given_up.seconds():.2f} s",
        f"all, after {seconds} s; rule may search for 5 s",
    )
    lists = guest.get(LIST, requests)
    check.that(
        len(lists.with_status(200)) == requests, f"{len(lists.with_status(200))} of {requests} lists came", "all"
    )
    if has_counters(check):
        counts = check.place.proxy_counter("rule", None, "upstream_rq_timeout") - before
        check.that(
            counts >= requests,
            f"it is the proxy that gave up: its counter upstream_rq_timeout of rule rose by {counts}",
            f"at least {requests}",
        )


def refuses_company(check: Check, users: int) -> None:
    """Lists come one at a time; of several at once some are refused by the proxy."""
    guest = check.guest()
    alone = guest.get(LIST, 4)
    check.that(not alone.failed(), f"{len(alone.failed())} of 4 lists failed, one after the other", "0")
    warm_up(check, lambda: guest.get(LIST, users, at_once=users).failed())
    before = check.place.proxy_counter("rule", None, "upstream_rq_pending_overflow")
    answers = guest.get(LIST, users, at_once=users)
    refused, served = answers.with_status(503), answers.with_status(200)
    check.that(
        refused and served and len(refused) + len(served) == users,
        f"{len(refused)} of {users} lists at once are a 503, after {refused.seconds():.2f} s",
        "some, not all",
    )
    counts = check.place.proxy_counter("rule", None, "upstream_rq_pending_overflow") - before
    check.that(
        counts and counts >= len(refused),
        f"the proxy says that it refused {counts} calls to rule (upstream_rq_pending_overflow)",
        f"at least {len(refused)}",
    )


def is_slow_for(check: Check, name: str, seconds: float) -> None:
    """The profile of one account is slow; its list is not, nor are other accounts."""
    person, guest, other = check.person(name), check.guest(), check.person("lesson-alice")
    warm_up(check, lambda: person.get(PROFILE).seconds() >= seconds)
    late = person.get(PROFILE, 3, at_once=3)
    check.that(
        min(answer.seconds for answer in late.all) >= seconds and len(late.with_status(200)) == 3,
        f"the profile of {name} took {late.seconds():.2f} s (median of 3): Server-Timing says that user takes it",
        f"{seconds} s or more",
    )
    for what, answers in (
        (f"the list of {name}", person.get(LIST, 5)),
        ("the profile of lesson-alice", other.get(PROFILE, 5)),
        ("that of a guest", guest.get(PROFILE, 5)),
    ):
        check.that(
            answers.seconds() < QUICK,
            f"{what} took {1000 * answers.seconds():.0f} ms (median of 5)",
            f"less than {QUICK} s",
        )


def limits_all(check: Check, requests: int) -> None:
    """Three users who send few requests each are refused, as together they send too many."""
    refused_before = counted(check, r".*http_local_rate_limit.rate_limited")
    first, *others = (check.guest() for _ in range(3))
    # One client can use up the tokens that all share.
    for _ in range(10):
        if first.get(PROFILE, requests).with_status(429):
            break
    refused = sum(len(other.get(PROFILE, 3).with_status(429)) for other in others)
    check.that(
        refused >= 3,
        f"one person sends many requests; of two others, with three requests each, {refused} of 6 are a 429",
        "half of them, or more",
    )
    well = check.guest().get("/healthz", 5).with_status(200)
    check.that(len(well) == 5, f"{len(well)} of 5 requests for another path than /api were answered", "all")
    if check.place.name == "laptop":
        counts = counted(check, r".*http_local_rate_limit.rate_limited") - refused_before
        check.that(counts, f"Envoy's counter http_local_rate_limit.rate_limited rose by {counts}", "more than 0")


def denies_events(check: Check, seconds: float) -> None:
    """A change makes no notice: the event that rule sends is refused before user sees it."""
    alice = check.person("lesson-alice")
    check.all_read(alice)
    before = counted(check, "cluster.user.upstream_rq_403")
    statuses = set[int]()

    def stays_quiet() -> bool:
        """Make a change, and say whether the bell does not ring for it."""
        (created,) = alice.send("POST", LIST, json={"name": "Tea"}).all
        statuses.add(created.status)
        try:
            wait_until(lambda: alice.unread() > 0, "the bell rings", seconds, pause=0.1)
        except TimeoutError:
            return True
        finally:
            if created.status == 201:
                alice.send("DELETE", LIST, json={"key": json.loads(created.body)["key"]})
        check.all_read(alice)
        return False

    # In a cluster it takes a while until the proxies have the policy.
    is_quiet = check.eventually(stays_quiet, 60)
    check.that(
        statuses == {201} and is_quiet,
        f"a new item is a {max(statuses)}, and {seconds:g} s later the bell {'has not rung' if is_quiet else 'rang'}",
        "a 201, and no bell",
    )
    if check.place.name == "laptop":
        counts = counted(check, "cluster.user.upstream_rq_403") - before
        check.that(
            counts, f"{counts} events were answered with 403 (cluster.user.upstream_rq_403)", "each that rule sent"
        )
    # On Knative they wait at the broker.
    if check.place.name != "knative":
        waiting = check.place.outbox()
        check.that(waiting > 0, f"{waiting} events wait in the outbox of rule", "at least one")


def refuses_tokens(check: Check, requests: int) -> None:
    """A token that user has just made is refused before todolist sees it; without one all is well."""
    token = check.person("lesson-alice").cookie("jwtToken")
    guest = check.guest()
    before = check.place.requests_served("todolist", "v1")
    denied_before = counted(check, "http.ingress.jwt_authn.denied")
    with_token = {"cookie": f"jwtToken={token}"}
    refused = Answers([check.guest().get(PROFILE, headers=with_token).all[0] for _ in range(requests)]).with_status(401)
    check.that(
        len(refused) == requests,
        f"{len(refused)} of {requests} requests with a token that user has just made are a 401",
        "all",
    )
    seen = check.place.requests_served("todolist", "v1") - before
    check.that(seen == 0, f"todolist saw {seen} of them: the proxy before it refused the rest", "0")
    well = guest.get(PROFILE, requests).with_status(200)
    check.that(len(well) == requests, f"{len(well)} of {requests} requests without a token were answered", "all")
    if check.place.name == "laptop":
        denied = counted(check, "http.ingress.jwt_authn.denied") - denied_before
        check.that(denied, f"Envoy's counter http.ingress.jwt_authn.denied rose by {denied}", "more than 0")


def starts_cold(check: Check, users: int) -> None:
    """Who comes after a pause waits for a process to start, and all who come meanwhile wait with them."""
    guest = check.guest()
    awake = guest.get(LIST, users, at_once=users)
    if check.place.name == "laptop":
        print("  then   no request for a while")
        asleep = check.eventually(lambda: not check.laptop.processes(), 40)
    else:
        # Less than it takes without the fault, where the last pod stays for two minutes.
        print("  then   no request for a minute and a half at most")
        # The former revision has pods for longer.
        name = "--output=jsonpath={.status.latestCreatedRevisionName}"
        revision = check.cluster.kubectl("get", "services.serving.knative.dev/rule", name)
        asleep = check.eventually(lambda: not check.cluster.pods(f"serving.knative.dev/revision={revision}"), 90)
    check.that(asleep, "rule has no process", "none (`make traffic` and Gentle traffic keep it awake)")
    if not asleep:
        return
    waited = guest.get(LIST, users, at_once=users)
    check.that(
        waited.seconds() > 2 * awake.seconds(),
        f"of {users} users who came at once half had an answer after {waited.seconds():.2f} s, before the pause "
        f"after {awake.seconds():.2f} s",
        "much later than before",
    )


def waits_for_database(check: Check, writes: int) -> None:
    """Changes take long within rule, reads do not; and a writer without rule waits as long."""
    alice = check.person("lesson-alice")
    seconds, count = check.laptop.time_within("rule", "v1", "POST")
    created = []
    for _ in range(writes):
        # Between two turns of the other program there is room for several.
        check.eventually(beside.is_held, 5)
        created += alice.send("POST", LIST, json={"name": "Tea"}).all
    seconds_then, count_then = check.laptop.time_within("rule", "v1", "POST")
    within, reads = (seconds_then - seconds) / max(1, count_then - count), alice.get(LIST, 10).seconds()
    check.that(
        within > 0.1 and within > 5 * reads,
        f"a new item takes {within:.2f} s within rule itself, as its metrics say (mean of {count_then - count:.0f})",
        "more than 0.1 s, and five times as long as a list",
    )
    check.that(reads < QUICK, f"a list is there after {1000 * reads:.0f} ms (median of 10)", f"less than {QUICK} s")
    turns = []
    for _ in range(writes):
        check.eventually(beside.is_held, 5)
        turns.append(beside.seconds_for_a_place())
    alone = median(turns)
    check.that(
        alone > 0.1,
        f"a program that writes to data/rule.db without rule waits {alone:.2f} s for its turn (median of {writes})",
        "more than 0.1 s: the time is in the database",
    )
    for answer in created:
        if answer.status == 201:
            alice.send("DELETE", LIST, json={"key": json.loads(answer.body)["key"]})


def is_slow_in(check: Check, version: str, seconds: float) -> None:
    """One version of user is slow, the other is not."""
    guest = check.guest()
    warm_up(check, lambda: any(answer.seconds >= seconds for answer in guest.get(PROFILE, 10, at_once=5).all))
    answers = guest.get(PROFILE, 24, at_once=8)
    took = {one: Answers([answer for answer in answers.all if answer.version("user") == one]) for one in VERSIONS}
    other = next(one for one in VERSIONS if one != version)
    check.that(
        took[version].seconds() >= seconds and took[other].seconds() < QUICK,
        f"profiles of {version} took {took[version].seconds():.2f} s, those of {other} {took[other].seconds():.2f} s",
        f"{version} {seconds} s or more, {other} less than {QUICK} s",
    )


def refuses_writes(check: Check, status: int, share: float, requests: int) -> None:
    """A share of the writes to rule fails, and no read."""
    guest = check.guest()
    # Refused by rule itself, as it has no name: so no item is left behind.
    writes = guest.send("POST", LIST, requests, json={"name": ""}, at_once=4)
    check.share(len(writes.with_status(status)), requests, share, f"writes to rule are a {status}")
    reads = guest.get(LIST, requests, at_once=4)
    check.that(not reads.failed(), f"{len(reads.failed())} of {requests} reads failed", "0")


MEASURES: dict[str, Callable[..., None]] = {
    measure.__name__: measure
    for measure in (
        fails, goes_to_one, is_ejected, is_repeated, is_copied, gives_up, refuses_company, is_slow_for, limits_all,
        denies_events, refuses_tokens, starts_cold, waits_for_database, is_slow_in, refuses_writes,
    )
}  # fmt: skip

# Where the proxy of todolist is a sidecar, or the one Envoy.
WITH_COUNTERS: tuple[PlaceName, ...] = ("laptop", "istio")


def has_counters(check: Check) -> bool:
    """Say whether the counters of the proxy that calls a service can be read."""
    return check.place.name in WITH_COUNTERS


def counted(check: Check, name: str) -> int:
    """Return a counter of Envoy's, by a pattern; on the laptop only."""
    return check.laptop.counter(name) if check.place.name == "laptop" else 0


def calls(check: Check, version: str, name: str) -> int:
    """Return a counter of the proxy's calls to a version of user; 0 where it cannot be read."""
    return check.place.proxy_counter("user", version, name) if has_counters(check) else 0


def warm_up(check: Check, condition: Callable[[], Any]) -> None:
    """In a cluster wait until open connections know of the fault; on the laptop they do."""
    if check.place.name != "laptop":
        check.eventually(condition, 60)
