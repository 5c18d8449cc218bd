"""The owner of the list: when a session ends or begins elsewhere, the page shows it, and writes into no other list."""

import time
from collections.abc import Callable
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.conftest import Faults, System, Visit
from tests.browser.screen import (
    action,
    add_items,
    create,
    dialog,
    expect_settled,
    fill_in,
    hold,
    names,
    open_list,
    requests_of,
    row,
    sign_up,
    stored,
    submit,
)
from tests.support import new_key

SHARED, OWN = "The shared demonstration list", "Your own list"


@pytest.fixture
def key(breakable: System) -> Path:
    return Path(breakable.users[0]._environment["TOKEN_KEY_FILE"])


@pytest.fixture
def owner(visit: Visit, breakable: System, unique: Callable[[str], str]) -> Page:
    """A page of a member with one item."""
    page = visit(base_url=breakable.url)
    page.member = sign_up(page, unique("owner"))
    add_items(page, "Mine")
    return page


def set_token(page: Page, token: str) -> None:
    page.context.add_cookies([{"name": "jwtToken", "value": token, "url": page.url, "httpOnly": True}])


def token_of(page: Page) -> str:
    return next(cookie["value"] for cookie in page.context.cookies() if cookie["name"] == "jwtToken")


# Each ends the session of a page without its knowledge.


def log_out_elsewhere(page: Page, system: System, key: Path) -> None:
    assert page.request.post("/api/login/outLogin").status == 204


def let_the_token_expire(page: Page, system: System, key: Path) -> None:
    head = jwt.get_unverified_header(token_of(page))
    claims = jwt.decode(token_of(page), options={"verify_signature": False})
    private = load_pem_private_key(key.read_bytes(), None)
    set_token(page, jwt.encode({**claims, "exp": int(time.time()) - 60}, private, "EdDSA", headers=head))


def change_the_key(page: Page, system: System, key: Path) -> None:
    new_key(key)
    for service in (*system.users, system.gateway):
        service.kill()
        service.restart()


def type_in(page: Page, name: str) -> None:
    fill_in(page, name, "a long private text")


def log_in(page: Page, name: str) -> None:
    expect(page.locator("#account-dialog").get_by_label("User name")).to_be_visible()
    submit(page, "Log in", name)
    expect(page.locator("#account-dialog")).to_be_hidden()


def wait_for_held(page: Page, held: list[Route], count: int) -> None:
    while len(held) < count:
        # Playwright calls the handlers while it waits for the browser.
        page.evaluate("new Promise(requestAnimationFrame)")


def notice(page: Page) -> Locator:
    return page.get_by_test_id("owner-notice")


def expect_guest(page: Page) -> None:
    expect(page.locator("#profile-kind")).to_have_text("Guest")
    expect(page.locator("#list-note")).to_contain_text(SHARED)


def expect_typed(page: Page, name: str) -> None:
    expect(page.get_by_label("Name", exact=True)).to_have_value(name)
    expect(page.get_by_label("Description")).to_have_value("a long private text")


def shared(system: System, name: str) -> list[str]:
    """Return the items of this name that all guests see."""
    return [item["name"] for item in system.gateway.client.get("/api/rule", params={"name": name}).json()["data"]]


def test_a_new_item_waits_for_its_owner(
    owner: Page, breakable: System, faults: Faults, key: Path, unique: Callable[[str], str]
) -> None:
    # The page looks for notices meanwhile, also while the gateway restarts with another key.
    faults.expect(401, "ERR_CONNECTION", "ERR_EMPTY_RESPONSE", 503)
    open_list(owner)
    expected = ["Mine"]
    for end in (log_out_elsewhere, let_the_token_expire, change_the_key):
        private = unique("Private")
        expect(owner.locator("#list-note")).to_contain_text(OWN)
        type_in(owner, private)
        end(owner, breakable, key)
        create(owner)
        alert = dialog(owner).get_by_role("alert")
        expect(alert).to_contain_text("your session has ended")
        expect_typed(owner, private)
        # Neither is it sent a second time for the guest, whose list stands behind the dialog by now.
        expect_guest(owner)
        expect(row(owner, "Mine")).to_have_count(0)
        create(owner)
        expect(alert).to_contain_text("your session has ended")
        assert shared(breakable, private) == []

        alert.get_by_role("button", name="Log in").click()
        log_in(owner, owner.member)
        expect(alert).to_be_hidden()
        expect_typed(owner, private)
        create(owner)
        expected.insert(0, private)
        expect(names(owner)).to_have_text(expected)
        expect(owner.locator("#list-note")).to_contain_text(OWN)
        expect(notice(owner)).to_be_hidden()
        assert shared(breakable, private) == []


def test_changes_and_deletions_say_what_is_so(owner: Page, breakable: System, faults: Faults, key: Path) -> None:
    faults.expect(401)
    end = let_the_token_expire
    open_list(owner)
    token = token_of(owner)

    def begin_again() -> None:
        set_token(owner, token)
        open_list(owner)
        expect(names(owner)).to_have_text(["Mine"])

    end(owner, breakable, key)
    action(owner, "Complete", "Mine").click()
    expect(owner.locator("#toast-alert")).to_contain_text("“Mine”: Nothing was changed: your session has ended.")
    expect(notice(owner)).to_contain_text("Your session has ended: you now see the shared list")
    expect_guest(owner)
    expect(row(owner, "Mine")).to_have_count(0)
    notice(owner).get_by_role("button", name="Log in").click()
    # The name is there already.
    expect(dialog(owner).get_by_label("User name")).to_have_value(owner.member)

    begin_again()
    action(owner, "Delete", "Mine").click()
    end(owner, breakable, key)
    dialog(owner).get_by_role("button", name="Delete").click()
    expect(dialog(owner).get_by_role("alert")).to_contain_text("your session has ended")
    expect(owner.locator("#toast-status")).not_to_contain_text("deleted")

    begin_again()
    action(owner, "Edit", "Mine").click()
    owner.get_by_label("Description").fill("a long private text")
    end(owner, breakable, key)
    owner.get_by_role("button", name="Save").click()
    expect(dialog(owner).get_by_role("alert")).to_contain_text("your session has ended")
    expect_typed(owner, "Mine")

    set_token(owner, token)
    (item,) = stored(owner)
    assert (item["status"], item["desc"], item["callNo"]) == (1, "", 0)


def test_a_page_writes_into_no_list_but_its_own(
    visit: Visit, breakable: System, faults: Faults, unique: Callable[[str], str]
) -> None:
    faults.expect(409)
    page, item = visit(base_url=breakable.url), unique("For all")
    alert = dialog(page).get_by_role("alert")
    open_list(page)
    expect_guest(page)
    type_in(page, item)
    name = sign_up(page, unique("second"))
    create(page)
    expect(alert).to_contain_text("another list")
    expect_typed(page, item)
    expect(page.get_by_test_id("profile-name")).to_have_text(name)
    expect(page.locator("#list-note")).to_contain_text(OWN)
    assert stored(page) == []
    assert shared(breakable, item) == []
    # On purpose it may.
    alert.get_by_role("button", name="Create it in this list").click()
    expect(names(page)).to_have_text([item])
    assert shared(breakable, item) == []

    # The same between two members.
    type_in(page, "Private")
    other = sign_up(page, unique("other"))
    create(page)
    expect(alert).to_contain_text("another list")
    expect(page.get_by_test_id("profile-name")).to_have_text(other)
    expect(notice(page)).to_contain_text("you now see its list")
    assert stored(page) == []
    dialog(page).get_by_role("button", name="Log in").click()
    log_in(page, name)
    create(page)
    expect(names(page)).to_have_text(["Private", item])


def test_tabs_tell_each_other(owner: Page, breakable: System, unique: Callable[[str], str]) -> None:
    other = owner.context.new_page()
    open_list(owner)
    open_list(other)
    private = unique("Private")
    type_in(owner, private)
    writes = requests_of(owner, "POST")
    other.get_by_test_id("logout").click()
    # Before anything is sent.
    expect(dialog(owner).get_by_role("alert")).to_contain_text("your session has ended")
    expect_typed(owner, private)
    expect_guest(owner)
    expect(notice(owner)).to_contain_text("Your session has ended")
    assert not writes

    other.get_by_test_id("login").click()
    log_in(other, owner.member)
    expect(owner.get_by_test_id("profile-name")).to_have_text(owner.member)
    expect(dialog(owner).get_by_role("alert")).to_be_hidden()
    create(owner)
    expect(names(owner)).to_have_text([private, "Mine"])
    assert shared(breakable, private) == []


def test_nothing_is_sent_before_it_is_known_for_whom(owner: Page) -> None:
    held = hold(owner, lambda request: request.method == "GET")
    writes = requests_of(owner, "POST")
    owner.goto("/")
    type_in(owner, "Early")
    create(owner)
    expect(owner.get_by_role("button", name="Create", exact=True)).to_have_attribute("aria-disabled", "true")
    # The list, the profile, and the profile once more.
    wait_for_held(owner, held, 3)
    assert not writes
    for route in held[:3]:
        route.continue_()
    expect(dialog(owner)).to_have_count(0)
    assert [write.headers["x-expected-caller"] for write in writes] == [
        owner.request.get("/api/currentUser").json()["userid"]
    ]
    for route in held[3:]:
        route.continue_()
    expect(names(owner)).to_have_text(["Early", "Mine"])


def test_the_accounts_are_not_shown_after_the_administrator(visit: Visit, breakable: System) -> None:
    page = visit(base_url=breakable.url)
    page.request.post("/api/login/account", data={"userName": "admin", "password": "adminadmin"})
    other = page.context.new_page()
    open_list(page)
    open_list(other)
    page.get_by_test_id("users").click()
    expect(dialog(page).get_by_test_id("users-list")).to_be_visible()
    other.get_by_test_id("logout").click()
    expect_guest(page)
    expect(dialog(page)).to_have_count(0)


def test_a_page_notices_that_its_session_has_ended(owner: Page) -> None:
    open_list(owner)
    token = token_of(owner)
    for reload in (
        lambda: owner.get_by_role("columnheader", name="Name").get_by_role("button").click(),
        lambda: owner.evaluate("document.dispatchEvent(new Event('visibilitychange'))"),
        lambda: owner.get_by_test_id("traffic-toggle").click(),
    ):
        expect(owner.locator("#list-note")).to_contain_text(OWN)
        owner.context.clear_cookies()
        reload()
        expect(notice(owner)).to_contain_text("Your session has ended: you now see the shared list")
        expect_guest(owner)
        expect_settled(owner)
        expect(row(owner, "Mine")).to_have_count(0)
        notice(owner).get_by_role("button", name="Close").click()
        expect(notice(owner)).to_be_hidden()
        set_token(owner, token)
        owner.locator("#profile-reload").click()
