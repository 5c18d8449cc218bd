"""Loading, empty and failed states of the page, without loss of input."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Faults, System, Visit
from tests.browser.screen import PASSWORD, Screen, answering

UNAVAILABLE = "A service behind the gateway is unavailable."


@pytest.fixture
def owner(visit: Visit, breakable: System) -> Screen:
    """A page of a user with one item, in front of services that may die."""
    owner = visit(base_url=breakable.url)
    owner.sign_up("owner")
    owner.add_items("Buy milk")
    return owner


def test_with_user_dead_the_rest_works_and_no_input_is_lost(owner: Screen, breakable: System, faults: Faults) -> None:
    breakable.users[0].kill()
    # A look for the notice of a change may meet the end of the session.
    faults.expect(503, 401)
    owner.open()
    expect(owner.names).to_have_text(["Buy milk"])
    expect(owner.list_note).to_contain_text("Your own list")
    expect(owner.logout).to_be_visible()
    expect(owner.login).to_be_hidden()
    expect(owner.profile_name).to_have_text("No answer")
    expect(owner.locator("#profile-error")).to_have_text("Profile unavailable")
    expect(owner.locator("#announcer-session")).to_contain_text(
        f"Profile unavailable. {UNAVAILABLE} Try again in 1 second."
    )
    owner.action("Complete", "Buy milk").click()
    expect(owner.status_of("Buy milk")).to_have_text("Done")
    expect(owner.get_by_test_id("mesh-trunk-user")).to_have_attribute("data-failed", re.compile("[1-9]"))
    owner.bell.click()
    expect(owner.alert).to_contain_text(UNAVAILABLE)
    owner.choose("Close")

    breakable.users[0].restart()
    owner.get_by_role("button", name="Try again").click()
    expect(owner.profile_name).to_have_text(re.compile("^owner"))
    expect(owner.locator("#profile-error")).to_be_hidden()
    owner.bell.click()
    expect(owner.dialog.get_by_text("No notices yet")).to_be_visible()

    owner.context.clear_cookies()
    owner.open()
    breakable.users[0].kill()
    owner.register.click()
    owner.submit("Register", "patient")
    expect(owner.alert).to_contain_text(UNAVAILABLE)
    expect(owner.password).to_have_value(PASSWORD)
    breakable.users[0].restart()
    owner.choose("Register")
    expect(owner.profile_name).to_have_text("patient")


def test_with_rule_dead_the_rest_works_and_no_input_is_lost(owner: Screen, breakable: System, faults: Faults) -> None:
    breakable.rule.kill()
    faults.expect(503)
    owner.goto("/?q=milk")
    expect(owner.list_error.get_by_role("alert")).to_contain_text("The list could not be loaded")
    expect(owner.list_error).to_contain_text(UNAVAILABLE)
    expect(owner.profile_name).to_have_text(re.compile("^owner"))
    expect(owner.empty).to_be_hidden()
    expect(owner.edge("rule")).to_have_attribute("data-failed", "1")

    breakable.rule.restart()
    owner.list_error.get_by_role("button", name="Try again").click()
    expect(owner.names).to_have_text(["Buy milk"])
    expect(owner.list_error).to_be_hidden()
    expect(owner.search).to_have_value("milk")

    owner.open()
    breakable.rule.kill()
    # A change of status says that it did not happen, and shows what is true.
    owner.action("Complete", "Buy milk").click()
    expect(owner.warning).to_contain_text(f"Not saved: {UNAVAILABLE}")
    expect(owner.status_of("Buy milk")).to_have_text("In progress")

    owner.action("Delete", "Buy milk").click()
    owner.choose("Delete")
    expect(owner.alert).to_contain_text(UNAVAILABLE)
    owner.choose("Cancel")
    expect(owner.names).to_have_text(["Buy milk"])

    owner.create("A long thought", "that takes long to type")
    expect(owner.alert).to_contain_text(UNAVAILABLE)
    breakable.rule.restart()
    owner.choose("Create")
    expect(owner.names).to_have_text(["A long thought", "Buy milk"])
    assert [item["desc"] for item in owner.stored()] == ["that takes long to type", ""]


def test_an_error_is_named(guest: Screen, faults: Faults) -> None:
    faults.expect(429, 500, 503, 504)
    guest.open()
    for status, headers, text in (
        (429, {"retry_after": "7"}, "Too many attempts. Try again in 7 seconds."),
        (500, {}, "The service had an internal error."),
        (503, {"retry_after": "120"}, f"{UNAVAILABLE} Try again in 2 minutes."),
        (504, {}, "A service behind the gateway did not answer in time."),
    ):
        guest.route("**/api/rule?*", answering({"status": status, "traceId": "4bf92f3577b34da6"}, status, **headers))
        guest.become_visible()
        expect(guest.list_error.get_by_role("alert").get_by_role("paragraph")).to_have_text(text)
        expect(guest.list_error).to_contain_text(f"{status} · Trace 4bf92f3577b34da6")
    guest.route("**/api/rule?*", lambda route: route.fulfill(body="<html>a captive portal", content_type="text/html"))
    guest.list_error.get_by_role("button").click()
    expect(guest.list_error).to_contain_text("The server returned an invalid response.")


def test_in_chinese_no_error_speaks_english(visit: Visit, faults: Faults) -> None:
    page = visit(locale="zh-CN")
    faults.expect(418, 422)
    errors = [{"field": field, "message": "Not good enough"} for field in ("name", "desc", "status")]
    english = {"title": "Nothing but English", "detail": "For developers", "traceId": "4711", "errors": errors}
    page.route("**/api/rule?*", answering({**english, "status": 418}, 418))
    page.open()
    expect(page.list_error).to_contain_text("418 · ")
    assert not re.search("[a-z]", page.list_error.get_by_role("alert").get_by_role("paragraph").inner_text())

    page.route("**/api/rule", answering({**english, "status": 422}, 422))
    page.new_item.click()
    page.get_by_label("名称", exact=True).fill("牛奶")
    page.choose("创建")
    expect(page.dialog.locator(".field-error:visible")).to_have_count(2)
    assert not re.search("[a-z]", page.dialog.inner_text())


def test_loading_and_without_network(member: Screen, faults: Faults) -> None:
    member.add_items("Here")
    held = member.hold(lambda request: "/api/rule" in request.url)
    member.goto("/")
    expect(member.locator("#skeleton")).to_be_visible()
    expect(member.empty).to_be_hidden()
    held[0].continue_()
    expect(member.names).to_have_text(["Here"])
    expect(member.locator("#skeleton")).to_be_hidden()
    member.unroute_all()

    faults.expect("ERR_INTERNET_DISCONNECTED")
    member.context.set_offline(True)
    member.action("Pause", "Here").click()
    expect(member.warning).to_contain_text("It is not known whether it was saved: The gateway")
    member.sort_by("Name")
    expect(member.list_error).to_contain_text("The gateway cannot be reached.")

    member.context.set_offline(False)
    member.get_by_role("button", name="Try again").click()
    # Not before: what is looked up loads the list, too.
    member.hurry()
    expect(member.names).to_have_text(["Here"])
    expect(member.warning).to_contain_text("It was looked up: it has not been saved.")
    expect(member.status_of("Here")).to_have_text("In progress")


def test_nothing_is_selected_in_a_list_that_could_not_be_loaded(member: Screen, faults: Faults) -> None:
    """It is kept for the list that comes at last, which has what another tab changed meanwhile."""
    _, gone = member.open_with("Here", "gone")
    member.checkbox("Here").check()
    expect(member.delete_selected).to_be_visible()
    faults.expect(503)
    member.route("**/api/rule?*", answering({"status": 503}, 503))
    member.become_visible()
    expect(member.list_error).to_be_visible()
    expect(member.delete_selected).to_be_hidden()

    member.delete(gone)
    member.add_items("new")
    member.unroute_all()
    member.become_visible()
    expect(member.names).to_have_text(["new", "Here"])
    expect(member.delete_selected).to_be_visible()
    expect(member.checkbox("Here")).to_be_checked()


def test_the_policy_forbids_what_markup_could_do(guest: Screen, faults: Faults) -> None:
    """It also shows that `visit` sees such errors in the other tests."""
    guest.open()
    guest.evaluate("document.body.setAttribute('style', 'color: red')")
    guest.evaluate("setTimeout(() => { throw new Error('uncaught on purpose') })")
    with guest.expect_event("console", lambda message: "in the end" in message.text):
        guest.evaluate("setTimeout(() => console.error('in the end'), 20)")
    for text in ("Content Security Policy directive", "uncaught on purpose", "in the end"):
        assert any(text in fault for fault in faults.found), faults.found
    faults.found.clear()
