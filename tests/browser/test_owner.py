"""The owner of the list: when a session ends or begins elsewhere, the page shows it, and writes into no other list."""

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Faults, System
from tests.browser.screen import Screen
from tests.support import wait_until

OWN, TYPED = "Your own list", "a long private text"


@pytest.fixture
def owner(member: Screen) -> Screen:
    """A page of a member with one item."""
    member.add_items("Mine")
    return member


def set_token(screen: Screen, token: str) -> None:
    """Change the session without the knowledge of the page, or end it: with a token that is not valid."""
    screen.context.add_cookies([{"name": "jwtToken", "value": token, "url": screen.page.url, "httpOnly": True}])


def log_in(screen: Screen, name: str) -> None:
    screen.submit("Log in", name)
    expect(screen.locator("#account-dialog")).to_be_hidden()


def expect_guest(screen: Screen) -> None:
    """See the page of a guest, and no longer that of the owner."""
    expect(screen.profile_kind).to_have_text("Guest")
    expect(screen.list_note).to_contain_text("The shared demonstration list")
    expect(screen.row("Mine")).to_have_count(0)


def expect_typed(screen: Screen, name: str) -> None:
    expect(screen.name).to_have_value(name)
    expect(screen.desc).to_have_value(TYPED)


def shared(system: System, name: str) -> list[str]:
    """Return the items of this name that all guests see."""
    return [item["name"] for item in system.gateway.client.get("/api/rule", params={"name": name}).json()["data"]]


def test_a_new_item_waits_for_its_owner(
    owner: Screen, system: System, faults: Faults, unique: Callable[[str], str]
) -> None:
    faults.expect(401)
    owner.open()
    expected = ["Mine"]
    for end in (lambda: owner.request.post("/api/login/outLogin"), lambda: set_token(owner, "expired")):
        private = unique("Private")
        expect(owner.list_note).to_contain_text(OWN)
        owner.fill_in(private, TYPED)
        end()
        owner.choose("Create")
        expect(owner.alert).to_contain_text("your session has ended")
        expect_typed(owner, private)
        # Neither is it sent a second time for the guest, whose list stands behind the dialog by now.
        expect_guest(owner)
        owner.choose("Create")
        expect(owner.alert).to_contain_text("your session has ended")

        owner.alert.get_by_role("button", name="Log in").click()
        log_in(owner, owner.account)
        expect(owner.alert).to_be_hidden()
        expect_typed(owner, private)
        owner.choose("Create")
        expected.insert(0, private)
        expect(owner.names).to_have_text(expected)
        expect(owner.owner_notice).to_be_hidden()
        assert shared(system, private) == []


def test_changes_and_deletions_say_what_is_so(owner: Screen, faults: Faults) -> None:
    faults.expect(401)
    owner.open()
    (token,) = (cookie["value"] for cookie in owner.context.cookies() if cookie["name"] == "jwtToken")

    def begin_again() -> None:
        set_token(owner, token)
        owner.open()
        expect(owner.names).to_have_text(["Mine"])

    set_token(owner, "expired")
    owner.action("Complete", "Mine").click()
    expect(owner.warning).to_contain_text("“Mine”: Nothing was changed: your session has ended.")
    expect_guest(owner)
    expect(owner.owner_notice).to_contain_text("Your session has ended: you now see the shared list")
    owner.owner_notice.get_by_role("button", name="Log in").click()
    # The name is there already.
    expect(owner.user_name).to_have_value(owner.account)

    begin_again()
    owner.action("Delete", "Mine").click()
    set_token(owner, "expired")
    owner.choose("Delete")
    expect(owner.alert).to_contain_text("your session has ended")
    expect(owner.message).not_to_contain_text("deleted")

    begin_again()
    owner.action("Edit", "Mine").click()
    owner.desc.fill(TYPED)
    set_token(owner, "expired")
    owner.choose("Save")
    expect(owner.alert).to_contain_text("your session has ended")
    expect_typed(owner, "Mine")

    set_token(owner, token)
    (item,) = owner.stored()
    assert (item["status"], item["desc"], item["callNo"]) == (1, "", 0)


def test_a_page_writes_into_no_list_but_its_own(
    guest: Screen, system: System, faults: Faults, unique: Callable[[str], str]
) -> None:
    faults.expect(409)
    item = unique("For all")
    guest.open()
    expect_guest(guest)
    guest.fill_in(item, TYPED)
    name = guest.sign_up("second")
    guest.choose("Create")
    expect(guest.alert).to_contain_text("another list")
    expect_typed(guest, item)
    expect(guest.profile_name).to_have_text(name)
    expect(guest.list_note).to_contain_text(OWN)
    assert guest.stored() == []
    # On purpose it may.
    guest.alert.get_by_role("button", name="Create it in this list").click()
    expect(guest.names).to_have_text([item])
    assert shared(system, item) == []

    # The same between two members.
    guest.fill_in("Private")
    other = guest.sign_up("other")
    guest.choose("Create")
    expect(guest.alert).to_contain_text("another list")
    expect(guest.profile_name).to_have_text(other)
    expect(guest.owner_notice).to_contain_text("you now see its list")
    assert guest.stored() == []
    guest.alert.get_by_role("button", name="Log in").click()
    log_in(guest, name)
    guest.choose("Create")
    expect(guest.names).to_have_text(["Private", item])


def test_tabs_tell_each_other(owner: Screen) -> None:
    other = Screen(owner.context.new_page()).open()
    owner.open()
    owner.fill_in("Private", TYPED)
    writes = owner.requests_of("POST")
    other.logout.click()
    # Before anything is sent.
    expect(owner.alert).to_contain_text("your session has ended")
    expect_typed(owner, "Private")
    expect_guest(owner)
    expect(owner.owner_notice).to_contain_text("Your session has ended")
    assert not writes

    other.login.click()
    log_in(other, owner.account)
    expect(owner.profile_name).to_have_text(owner.account)
    expect(owner.alert).to_be_hidden()
    owner.choose("Create")
    expect(owner.names).to_have_text(["Private", "Mine"])

    # A page that has just created an item looks for its notice: here not in the administrator's session.
    owner.goto("about:blank")
    # The accounts are not shown after the administrator, either.
    other.request.post("/api/login/account", data={"userName": "admin", "password": "adminadmin"})
    owner.open()
    owner.users.click()
    expect(owner.dialog.get_by_test_id("users-list")).to_be_visible()
    other.open().logout.click()
    expect_guest(owner)
    expect(owner.dialog).to_have_count(0)


def test_nothing_is_sent_before_it_is_known_for_whom(owner: Screen) -> None:
    user_id = owner.request.get("/api/currentUser").json()["userid"]
    held = owner.hold(lambda request: request.method == "GET")
    writes = owner.requests_of("POST")
    owner.goto("/")
    owner.create("Early")
    expect(owner.get_by_role("button", name="Create", exact=True)).to_have_attribute("aria-disabled", "true")
    # The list, the profile, and the profile once more.
    wait_until(lambda: owner.evaluate("true") and len(held) >= 3, "they are requested")
    assert not writes
    for route in held[:3]:
        route.continue_()
    expect(owner.dialog).to_have_count(0)
    assert [write.headers["x-expected-caller"] for write in writes] == [user_id]
    for route in held[3:]:
        route.continue_()
    expect(owner.names).to_have_text(["Early", "Mine"])


def test_a_page_notices_that_its_session_has_ended(owner: Screen, faults: Faults) -> None:
    faults.expect(401)
    owner.open()
    (token,) = (cookie["value"] for cookie in owner.context.cookies() if cookie["name"] == "jwtToken")
    for load in (owner.bell.click, lambda: owner.sort_by("Name"), owner.become_visible, owner.traffic.click):
        expect(owner.list_note).to_contain_text(OWN)
        owner.context.clear_cookies()
        load()
        expect(owner.owner_notice).to_contain_text("Your session has ended: you now see the shared list")
        expect_guest(owner)
        # The notices of the guest do not say it.
        expect(owner.locator("#notices-body")).not_to_contain_text("Nothing was changed")
        owner.owner_notice.get_by_role("button", name="Close").click()
        expect(owner.owner_notice).to_be_hidden()
        set_token(owner, token)
        owner.reload_profile()
