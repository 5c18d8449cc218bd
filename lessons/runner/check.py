"""What the lessons' checks use: clients, their requests, and expectations about status, server and latency."""

import json as jsons
import math
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter
from typing import Any

import httpx

from lessons.runner.cluster import Cluster
from lessons.runner.difference import wrap
from lessons.runner.laptop import Laptop
from lessons.runner.lesson import Lesson
from lessons.runner.place import Place, UnsuitableError
from lessons.runner.waiting import wait_until

PROFILE, LIST = "/api/currentUser", "/api/rule"
# The password of the lessons' users; each reader may log in as one of them.
PASSWORD = "learn-the-mesh"  # noqa: S105
# Confidence level of checks of random shares: a correct system passes 999 times of 1,000.
CONFIDENCE = 0.999


@dataclass(frozen=True)
class Answer:
    """One answer through the ingress. status: 0 if none came; seconds: until it was complete."""

    status: int
    seconds: float
    headers: httpx.Headers
    body: bytes

    def version(self, service: str) -> str | None:
        """Return the version of a service behind the gateway that answered, None if none did."""
        found = re.search(rf"\b{service}/([\w.-]+)@", self.headers.get("server-timing", ""))
        # On Knative a pod's version is its revision, such as user-v1.
        return found.group(1).removeprefix(f"{service}-") if found else None


@dataclass
class Answers:
    """Many answers."""

    all: list[Answer] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.all)

    def by_version(self, service: str = "user") -> Counter[str]:
        """Return how many of them each version of a service answered."""
        return Counter(answer.version(service) or "none" for answer in self.all)

    def with_status(self, *statuses: int) -> "Answers":
        """Return those with one of these statuses."""
        return Answers([answer for answer in self.all if answer.status in statuses])

    def failed(self) -> "Answers":
        """Return those with a status of 500 and more, and those that did not come."""
        return Answers([answer for answer in self.all if answer.status >= 500 or not answer.status])

    def seconds(self) -> float:
        """Return the median time until an answer was complete; 0 if there is none."""
        return median(answer.seconds for answer in self.all) if self.all else 0.0


class Person:
    """A client like the page: of a guest, or of a logged-in account."""

    def __init__(self, client: httpx.Client, name: str | None, place: Place) -> None:
        self.name = name or "a guest"
        self._client, self._place = client, place
        if name:
            account = {"userName": name, "password": PASSWORD}
            # The first lesson with this account registers it. If that is rejected, it exists.
            if self.send("POST", "/user/register", json=account).with_status(201):
                return
            (answer,) = self.send("POST", "/api/login/account", json=account).all
            if (status := answer.status) != 200:
                raise UnsuitableError(
                    f"{name} cannot log in with the password of the lessons, {PASSWORD}: the answer is a {status}"
                )

    def cookie(self, name: str) -> str:
        """Return the value of a cookie that this person got."""
        return self._client.cookies[name]

    def cookie_is_secure(self, name: str) -> bool:
        """Return whether a cookie that this person got goes only over HTTPS."""
        return any(cookie.secure for cookie in self._client.cookies.jar if cookie.name == name)

    def get(self, path: str, times: int = 1, *, at_once: int = 1, headers: dict[str, str] | None = None) -> Answers:
        """Send this number of GET requests, `at_once` of them concurrently."""
        return self.send("GET", path, times, at_once=at_once, headers=headers)

    def send(
        self,
        method: str,
        path: str,
        times: int = 1,
        *,
        json: Any = None,
        at_once: int = 1,
        headers: dict[str, str] | None = None,
    ) -> Answers:
        """Send this number of requests, `at_once` of them concurrently. json: the body of each."""

        def one(_: int) -> Answer:
            started = perf_counter()
            try:
                answer = self._client.request(method, path, json=json, headers=headers)
            except httpx.TransportError:
                self._place.must_be_on()
                return Answer(0, perf_counter() - started, httpx.Headers(), b"")
            return Answer(answer.status_code, perf_counter() - started, answer.headers, answer.content)

        if at_once == 1:
            return Answers([one(number) for number in range(times)])
        with ThreadPoolExecutor(at_once) as pool:
            return Answers(list(pool.map(one, range(times))))

    def add_items(self, name: str, count: int) -> list[str]:
        """Add so many items, and return their keys. Raises UnsuitableError if one is not created."""
        added = [self.send("POST", LIST, json={"name": f"{name} {number + 1}"}).all[0] for number in range(count)]
        for answer in added:
            if answer.status != 201:
                raise UnsuitableError(f"an item was not created: {answer.status or 'no answer'}")
        return [jsons.loads(answer.body)["key"] for answer in added]

    def unread(self) -> int:
        """Return how many notices this person has not read, as the bell says it; -1 if there was no answer."""
        (answer,) = self.get(PROFILE).all
        return int(jsons.loads(answer.body)["unreadCount"]) if answer.status == 200 else -1


class Check:
    """Sends requests, and prints a line for each expectation, with its figure.

    with_change False: steps change nothing, which shows that a check can fail.
    """

    def __init__(self, place: Place, lesson: Lesson, *, with_change: bool = True) -> None:
        self.place, self._lesson, self._with_change = place, lesson, with_change
        self.failures: list[str] = []
        self._clients = ExitStack()

    def __enter__(self) -> "Check":
        return self

    def __exit__(self, *_: object) -> None:
        self._clients.close()

    def guest(self) -> Person:
        """Return a client that is not logged in."""
        return Person(self._clients.enter_context(self.place.client()), None, self.place)

    def person(self, name: str) -> Person:
        """Return a client that is logged in under a name, such as lesson-alice."""
        return Person(self._clients.enter_context(self.place.client()), name, self.place)

    def step(self, name: str, what: str) -> None:
        """Apply the change of a later step: the files whose names end with `name`. what: a line to print."""
        show(f"  then   {what} ({self._lesson.change(self.place.name, name).name})")
        if self._with_change:
            self.place.apply(self._lesson, name)

    def certificate(self, kind: str, what: str) -> None:
        """Let the ingress present another certificate: ingress, expired or foreign. what: a line to print."""
        show(f"  then   {what}")
        if self._with_change:
            self.place.present(kind)

    def back(self, what: str) -> None:
        """Revert all changes of the lesson. what: a line to print."""
        show(f"  then   {what}")
        if self._with_change:
            self.place.reset()

    @property
    def cluster(self) -> Cluster:
        """The cluster, for a lesson that runs nowhere else."""
        assert isinstance(self.place, Cluster)  # noqa: S101 - the lesson says where it runs
        return self.place

    @property
    def laptop(self) -> Laptop:
        """The laptop, for a part of a lesson that is there only."""
        assert isinstance(self.place, Laptop)  # noqa: S101 - the lesson looks where it is
        return self.place

    def that(self, holds: object, seen: str, expected: str) -> None:
        """Print what was seen, and count it as a failure unless it holds. expected: printed beside it."""
        if holds:
            show(f"  ok     {seen}")
        else:
            self.failures.append(seen)
            show(f"  FAILED {seen}")
            show(f"         expected: {expected}")

    def share(self, seen: int, of: int, share: float, what: str) -> None:
        """Check that a number is within binomial bounds. share: expected, 0 to 1; what: the text after them."""
        low, high = bounds(of, share)
        expected = f"{low} to {high}" if low < high else str(low)
        self.that(low <= seen <= high, f"{seen} of {of} {what} (expected: {expected})", f"{expected} of {of}")

    def eventually(self, condition: Callable[[], object], seconds: float = 30) -> bool:
        """Wait for something that takes a while, and return whether it came."""
        if not self._with_change:
            return bool(condition())
        try:
            wait_until(condition, "", seconds, pause=0.1)
        except TimeoutError:
            return False
        return True

    def all_read(self, person: Person) -> None:
        """Mark all notices of a person as read, and wait for 0: six times, as there are several processes."""
        person.send("PUT", "/api/notices", json={"read": True})
        self.eventually(lambda: not any(person.unread() for _ in range(6)))

    def unread_in_the_end(self, person: Person, expected: int) -> int:
        """Return the unread count after 2 s, or once it exceeds `expected`. Each process caches it for a second."""
        self.eventually(lambda: person.unread() > expected, 2)
        return person.unread()

    @contextmanager
    def meanwhile(self, path: str, *, at_once: int = 1, pause: float = 0.01) -> Iterator[Answers]:
        """Let a guest send requests all the time while something else happens, and collect the answers.

        at_once: how many at a time; pause: seconds after them.
        """
        guest, answers, ended = self.guest(), Answers(), threading.Event()

        def ask() -> None:
            # The check itself gets the same error.
            with suppress(UnsuitableError):
                while not ended.wait(pause):
                    answers.all.extend(guest.get(path, at_once, at_once=at_once).all)

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            yield answers
        finally:
            ended.set()
            asking.join()


def show(line: str) -> None:
    """Print a line; what does not fit into a narrow terminal continues below."""
    margin = len(line) - len(line[9:].lstrip())
    print("\n".join(wrap(line[margin:], line[:margin], rest=" " * margin)))


def bounds(count: int, share: float, confidence: float = CONFIDENCE) -> tuple[int, int]:
    """Return the two-sided binomial interval of the number of hits in so many tries with this share.

    At most (1 - confidence) / 2 of the probability lies outside each bound.
    """
    chances = [math.comb(count, hits) * share**hits * (1 - share) ** (count - hits) for hits in range(count + 1)]
    tail = (1 - confidence) / 2
    return _first_above(chances, tail), count - _first_above(chances[::-1], tail)


def _first_above(chances: list[float], tail: float) -> int:
    total = 0.0
    for hits, chance in enumerate(chances):
        total += chance
        if total > tail:
            return hits
    return len(chances) - 1
