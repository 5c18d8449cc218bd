"""The owner of the list: when a session ends or begins elsewhere, the page shows it, and writes into no other list."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

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
from tests.support import wait_until

SHARED, OWN, TYPED = "The shared demonstration list", "Your own list", "a long private text"


@pytest.fixture
def owner(visit: Visit, unique: Callable[[str], str]) -> Page:
    """A page of a member with one item."""
    page = visit()
    page.member = sign_up(page, unique("owner"))
    add_items(page, "Mine")
    return page


def set_token(page: Page, token: str) -> None:
    page.context.add_cookies([{"name": "jwtToken", "value": token, "url": page.url, "httpOnly": True}])


def token_of(page: Page) -> str:
    return next(cookie["value"] for cookie in page.context.cookies() if cookie["name"] == "jwtToken")


def end_session(page: Page) -> None:
    """End the session without the knowledge of the page: its token is no longer valid."""
    set_token(page, "expired")


def log_out_elsewhere(page: Page) -> None:
    assert page.request.post("/api/login/outLogin").status == 204


def log_in(page: Page, name: str) -> None:
    expect(page.locator("#account-dialog").get_by_label("User name")).to_be_visible()
    submit(page, "Log in", name)
    expect(page.locator("#account-dialog")).to_be_hidden()


def notice(page: Page) -> Locator:
    return page.get_by_test_id("owner-notice")


def expect_guest(page: Page) -> None:
    expect(page.locator("#profile-kind")).to_have_text("Guest")
    expect(page.locator("#list-note")).to_contain_text(SHARED)


def expect_typed(page: Page, name: str) -> None:
    expect(page.get_by_label("Name", exact=True)).to_have_value(name)
    expect(page.get_by_label("Description")).to_have_value(TYPED)


def shared(system: System, name: str) -> list[str]:
    """Return the items of this name that all guests see."""
    return [item["name"] for item in system.gateway.client.get("/api/rule", params={"name": name}).json()["data"]]


def test_a_new_item_waits_for_its_owner(
    owner: Page, system: System, faults: Faults, unique: Callable[[str], str]
) -> None:
    faults.expect(401)
    open_list(owner)
    expected = ["Mine"]
    for end in (log_out_elsewhere, end_session):
        private = unique("Private")
        expect(owner.locator("#list-note")).to_contain_text(OWN)
        fill_in(owner, private, TYPED)
        end(owner)
        create(owner)
        alert = dialog(owner).get_by_role("alert")
        expect(alert).to_contain_text("your session has ended")
        expect_typed(owner, private)
        # Neither is it sent a second time for the guest, whose list stands behind the dialog by now.
        expect_guest(owner)
        expect(row(owner, "Mine")).to_have_count(0)
        create(owner)
        expect(alert).to_contain_text("your session has ended")

        alert.get_by_role("button", name="Log in").click()
        log_in(owner, owner.member)
        expect(alert).to_be_hidden()
        expect_typed(owner, private)
        create(owner)
        expected.insert(0, private)
        expect(names(owner)).to_have_text(expected)
        expect(notice(owner)).to_be_hidden()
        assert shared(system, private) == []


def test_changes_and_deletions_say_what_is_so(owner: Page, faults: Faults) -> None:
    faults.expect(401)
    open_list(owner)
    token = token_of(owner)

    def begin_again() -> None:
        set_token(owner, token)
        open_list(owner)
        expect(names(owner)).to_have_text(["Mine"])

    end_session(owner)
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
    end_session(owner)
    dialog(owner).get_by_role("button", name="Delete").click()
    expect(dialog(owner).get_by_role("alert")).to_contain_text("your session has ended")
    expect(owner.locator("#toast-status")).not_to_contain_text("deleted")

    begin_again()
    action(owner, "Edit", "Mine").click()
    owner.get_by_label("Description").fill(TYPED)
    end_session(owner)
    owner.get_by_role("button", name="Save").click()
    expect(dialog(owner).get_by_role("alert")).to_contain_text("your session has ended")
    expect_typed(owner, "Mine")

    set_token(owner, token)
    (item,) = stored(owner)
    assert (item["status"], item["desc"], item["callNo"]) == (1, "", 0)


def test_a_page_writes_into_no_list_but_its_own(
    guest: Page, system: System, faults: Faults, unique: Callable[[str], str]
) -> None:
    faults.expect(409)
    page, item = guest, unique("For all")
    alert = dialog(page).get_by_role("alert")
    open_list(page)
    expect_guest(page)
    fill_in(page, item, TYPED)
    name = sign_up(page, unique("second"))
    create(page)
    expect(alert).to_contain_text("another list")
    expect_typed(page, item)
    expect(page.get_by_test_id("profile-name")).to_have_text(name)
    expect(page.locator("#list-note")).to_contain_text(OWN)
    assert stored(page) == []
    assert shared(system, item) == []
    # On purpose it may.
    alert.get_by_role("button", name="Create it in this list").click()
    expect(names(page)).to_have_text([item])
    assert shared(system, item) == []

    # The same between two members.
    fill_in(page, "Private")
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


def test_tabs_tell_each_other(owner: Page, unique: Callable[[str], str]) -> None:
    other = owner.context.new_page()
    open_list(owner)
    open_list(other)
    private = unique("Private")
    fill_in(owner, private, TYPED)
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

    # The accounts are not shown after the administrator, either.
    other.request.post("/api/login/account", data={"userName": "admin", "password": "adminadmin"})
    open_list(owner)
    owner.get_by_test_id("users").click()
    expect(dialog(owner).get_by_test_id("users-list")).to_be_visible()
    open_list(other).get_by_test_id("logout").click()
    expect_guest(owner)
    expect(dialog(owner)).to_have_count(0)


def test_nothing_is_sent_before_it_is_known_for_whom(owner: Page) -> None:
    held = hold(owner, lambda request: request.method == "GET")
    writes = requests_of(owner, "POST")
    owner.goto("/")
    fill_in(owner, "Early")
    create(owner)
    expect(owner.get_by_role("button", name="Create", exact=True)).to_have_attribute("aria-disabled", "true")
    # The list, the profile, and the profile once more.
    wait_until(lambda: owner.evaluate("true") and len(held) >= 3, "they are requested")
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
