"""The whole system once per session, a real Chromium, and a check for all errors that a page reports."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, expect, sync_playwright

from tests.browser import chromium
from tests.browser.screen import Screen
from tests.forking import Forked
from tests.support import Service, free_port, running, running_envoy

# Two busy cores need more than the 5 s that expect() waits by itself.
TIMEOUT_MS = 10_000
# Stillness saves the time that each dialog takes to rise.
USUAL = {"locale": "en-US", "viewport": {"width": 1280, "height": 800}, "reduced_motion": "reduce"}

Visit = Callable[..., Screen]

expect.set_options(timeout=TIMEOUT_MS)


class Faults:
    """Errors that pages reported: on the console (as violations of the security policy are), and uncaught ones."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._expected: list[str] = []

    def expect(self, *causes: int | str) -> None:
        """Accept Chromium's own line about an answer of this status, or about this network error."""
        self._expected += [f"a status of {cause}" if isinstance(cause, int) else cause for cause in causes]

    def watch(self, context: BrowserContext) -> None:
        context.on("console", self._take)
        context.on("weberror", lambda error: self.found.append(f"uncaught: {error.error}"))

    def _take(self, message: ConsoleMessage) -> None:
        deliberate = message.text.startswith("Failed to load resource") and any(
            text in message.text for text in self._expected
        )
        if message.type in ("error", "warning", "assert") and not deliberate:
            self.found.append(f"{message.type}: {message.text} ({message.location.get('url')})")


@dataclass(frozen=True)
class System:
    """The services behind one URL."""

    url: str
    gateway: Service
    rule: Service
    users: tuple[Service, ...]


def make_services(
    directory: Path, token_key: Path, versions: tuple[str, ...], **rule: str
) -> tuple[Service, tuple[Service, ...]]:
    """Start rule, and user in these versions, each service on an SQLite file of its own. rule: its further settings."""
    settings = {
        "DATABASE_URL": f"sqlite:///{directory / 'user.db'}",
        "TOKEN_KEY_FILE": str(token_key),
        "ADMIN_PASSWORD": "adminadmin",
        "LOGIN_ATTEMPTS": "3",
    }
    users = tuple(Forked("user", directory, VERSION=version, **settings) for version in versions)
    return Forked("rule", directory, DATABASE_URL=f"sqlite:///{directory / 'rule.db'}", **rule), users


@pytest.fixture(scope="session")
def system(token_key: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Everything that `make run` starts."""
    directory = tmp_path_factory.mktemp("browser")
    events_port = free_port()
    rule, users = make_services(directory, token_key, ("v1", "v2"), K_SINK=f"http://127.0.0.1:{events_port}")
    ports = {"USER_V1_PORT": users[0].port, "USER_V2_PORT": users[1].port, "RULE_V1_PORT": rule.port}
    ports["EVENTS_PORT"] = events_port
    port = free_port()
    with running(rule, *users), running_envoy(directory, TODOLIST_V1_PORT=port, **ports) as envoy:
        gateway = Forked("todolist", directory, PORT=str(port), USER_URL=envoy.user_url, RULE_URL=envoy.rule_url)
        with running(gateway):
            yield System(envoy.url, gateway, rule, users)


@pytest.fixture(scope="session")
def breakable_system(token_key: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system without Envoy, with one version of user, whose gateway soon stops waiting."""
    directory = tmp_path_factory.mktemp("breakable")
    rule, users = make_services(directory, token_key, ("v1",))
    gateway = Forked("todolist", directory, USER_URL=users[0].url, RULE_URL=rule.url, UPSTREAM_TIMEOUT="3")
    with running(rule, *users, gateway):
        yield System(gateway.url, gateway, rule, users)


@pytest.fixture
def breakable(breakable_system: System) -> Iterator[System]:
    """A system whose services a test may kill or suspend; whole again afterwards."""
    yield breakable_system
    for service in (breakable_system.rule, *breakable_system.users):
        if service.process.poll() is not None:
            service.restart()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        yield chromium.launch(playwright)


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def visit(browser: Browser, system: System, faults: Faults) -> Iterator[Visit]:
    """Opens a blank page with fresh cookies; fails if any of them reports an error."""
    contexts: list[BrowserContext] = []

    def new_page(**options: Any) -> Screen:
        context = browser.new_context(**{"base_url": system.url, **USUAL, **options})
        context.set_default_timeout(TIMEOUT_MS)
        faults.watch(context)
        contexts.append(context)
        return Screen(context.new_page())

    yield new_page
    for context in contexts:
        for page in context.pages:
            # What the page said before this answer has arrived by now.
            page.evaluate("0")
            # Requests that a handler still works on end with the page.
            page.unroute_all(behavior="ignoreErrors")
        context.close()
    assert not faults.found, "\n".join(faults.found)


@pytest.fixture
def guest(visit: Visit) -> Screen:
    return visit()


@pytest.fixture
def member(guest: Screen) -> Screen:
    """A page of a user with an account and an empty list."""
    guest.sign_up()
    return guest
