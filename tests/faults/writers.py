"""Clients that write continuously, and know exactly what must be stored."""

import random
import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import httpx

from tests.support import wait_until

# Name, description, status, number of changes.
Content = tuple[str, str, int, int]

PASSWORD = "a good password"
FEW, MANY = 5, 60


class NoAnswerError(Exception):
    """The outcome of the request is unknown."""


@dataclass
class Writer:
    """Owns a list that no other client changes, and registers accounts."""

    url: str
    items: dict[str, Content] = field(default_factory=dict)
    # Name to session; the first is the writer's own.
    accounts: dict[str, dict[str, str]] = field(default_factory=dict)
    acknowledged: Counter[str] = field(default_factory=Counter)
    in_doubt: int = 0
    ended: Event = field(default_factory=Event)

    def __post_init__(self) -> None:
        self._client = httpx.Client(base_url=self.url, timeout=30, trust_env=False)

    def run(self) -> None:
        """Write until stopped; raises AssertionError on an inconsistency."""
        while not self.accounts:
            self.register()
        while not self.ended.is_set():
            choices: list[Callable[[], None]] = [self.create]
            if len(self.items) > FEW:
                choices += [self.update, self.delete]
            if len(self.items) > MANY:
                choices = [self.delete]
            (self.register if random.random() < 0.05 else random.choice(choices))()

    def create(self) -> None:
        content = self._content(0)
        with self._unless_interrupted(self.items, [content]):
            key = self._ask("POST", 201, {"name": content[0], "desc": content[1]})["key"]
            assert key not in self.items
            self.items[key] = content
            self.acknowledged["create"] += 1

    def update(self) -> None:
        key = random.choice(list(self.items))
        content = self._content(self.items[key][3] + 1)
        with self._unless_interrupted({**self.items, key: content}):
            self._ask("PUT", 200, {"key": key, "name": content[0], "desc": content[1], "status": content[2]})
            self.items[key] = content
            self.acknowledged["update"] += 1

    def delete(self) -> None:
        keys = random.sample(list(self.items), 3)
        left = {key: content for key, content in self.items.items() if key not in keys}
        with self._unless_interrupted(left):
            self._ask("DELETE", 200, {"key": keys})
            self.items = left
            self.acknowledged["delete"] += 1

    def register(self) -> None:
        name = f"writer-{secrets.token_hex(8)}"
        account = {"userName": name, "password": PASSWORD}
        try:
            answer = self._request("POST", "/user/register", account)
        except NoAnswerError:
            self.in_doubt += 1
            self._settle(account)
            return
        assert answer.status_code == 201, answer.text
        self.accounts[name] = {"jwtToken": answer.cookies["jwtToken"]}
        self.acknowledged["registration"] += 1

    def _settle(self, account: dict[str, str]) -> None:
        """There is an account and its name is taken, or there is none and the name is free."""
        there = self._request_at_last("POST", "/api/login/account", account).status_code
        try:
            again = self._request("POST", "/user/register", account).status_code
        except NoAnswerError:
            self._settle(account)
            return
        assert (there, again) in ((200, 409), (401, 201))

    def check(self) -> None:
        """Fail unless every acknowledged write is stored exactly once."""
        assert self._read() == self.items
        for name, session in self.accounts.items():
            profile = self._request_at_last("GET", "/api/currentUser", session=session)
            assert (profile.status_code, profile.json().get("name")) == (200, name)

    def _content(self, changes: int) -> Content:
        # The description repeats the name: a mixture of two states would show.
        name = secrets.token_hex(8)
        return name, name * 100, random.randrange(4) if changes else 1, changes

    @property
    def _own(self) -> dict[str, str]:
        return next(iter(self.accounts.values()))

    def _ask(self, method: str, status: int, body: dict[str, object]) -> dict:
        answer = self._request(method, "/api/rule", body, self._own)
        assert answer.status_code == status, answer.text
        return answer.json()

    def _read(self) -> dict[str, Content]:
        answer = self._request_at_last("GET", "/api/rule?pageSize=100", session=self._own)
        assert answer.status_code == 200, answer.text
        data = answer.json()["data"]
        items = {item["key"]: (item["name"], item["desc"], item["status"], item["callNo"]) for item in data}
        assert len(items) == len(data) == answer.json()["total"]
        return items

    @contextmanager
    def _unless_interrupted(self, after: dict[str, Content], created: list[Content] | None = None) -> Iterator[None]:
        """Without a response the list must be as before or as after (atomic)."""
        before = self.items
        try:
            yield
        except NoAnswerError:
            self.in_doubt += 1
            seen = self._read()
            known = {key: content for key, content in seen.items() if key in before}
            new = [content for key, content in seen.items() if key not in before]
            assert (known, new) in ((before, []), (after, created or []))
            self.items = seen

    def _request(
        self, method: str, path: str, body: object = None, session: dict[str, str] | None = None
    ) -> httpx.Response:
        self._client.cookies = session
        try:
            answer = self._client.request(method, path, json=body)
        except httpx.TransportError as error:
            # Of an answer that had begun, the ingress can only close the connection.
            raise NoAnswerError from error
        if answer.status_code in (502, 503, 504):
            assert answer.headers["content-type"] == "application/problem+json", answer.text
            raise NoAnswerError
        return answer

    def _request_at_last(self, *arguments: Any, **named: Any) -> httpx.Response:
        def answered() -> list[httpx.Response]:
            try:
                return [self._request(*arguments, **named)]
            except NoAnswerError:
                return []

        return wait_until(answered, f"an answer to {arguments}")[0]


class Writers:
    """Some writers at work, each in a thread."""

    def __init__(self, writers: list[Writer], threads: ThreadPoolExecutor) -> None:
        self._writers = writers
        self._runs = [threads.submit(writer.run) for writer in writers]

    def wait_for_more(self) -> None:
        """Wait until writes are acknowledged again."""
        before = self.acknowledged().total()
        wait_until(lambda: self.acknowledged().total() > before + 20 or self._ended(), "more writes")
        for run in self._runs:
            if run.done():
                # Raises what the writer found to be wrong.
                run.result()

    def _ended(self) -> bool:
        return any(run.done() for run in self._runs)

    def acknowledged(self) -> Counter[str]:
        return sum((writer.acknowledged for writer in self._writers), Counter())

    def finish(self) -> str:
        """Stop them, check everything, and return what was done."""
        self.stop()
        for run in self._runs:
            run.result()
        for writer in self._writers:
            writer.check()
        counts = self.acknowledged()
        assert set(counts) == {"create", "update", "delete", "registration"}
        details = ", ".join(f"{count:,} {kind}s" for kind, count in sorted(counts.items()))
        in_doubt = sum(writer.in_doubt for writer in self._writers)
        return f"{counts.total():,} writes acknowledged ({details}), 0 lost; {in_doubt} without an answer, all whole"

    def stop(self) -> None:
        for writer in self._writers:
            writer.ended.set()


@contextmanager
def writing(url: str, count: int = 8) -> Iterator[Writers]:
    """Run this many concurrent writers."""
    with ThreadPoolExecutor(count) as threads:
        writers = Writers([Writer(url) for _ in range(count)], threads)
        try:
            yield writers
        finally:
            writers.stop()
