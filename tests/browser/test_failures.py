"""Loading, empty and failed states of the page, without loss of input."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Faults, System, Visit
from tests.browser.screen import (
    PASSWORD,
    action,
    add_items,
    answering,
    create,
    dialog,
    fill_in,
    hold,
    hurry,
    names,
    open_list,
    sign_up,
    status_of,
    stored,
    submit,
)


@pytest.fixture
def owner(visit: Visit, breakable: System, unique: Callable[[str], str]) -> Page:
    """A page of a user with one item, in front of services that may die."""
    page = visit(base_url=breakable.url)
    sign_up(page, unique("owner"))
    add_items(page, "Buy milk")
    return page


def failing(status: int, body: dict | None = None, **headers: str) -> Callable[[Route], None]:
    """Return a handler that answers with a problem."""
    return answering({"type": "about:blank", "title": "Problem", "status": status, **(body or {})}, status, **headers)


def test_with_user_dead_the_rest_works_and_no_input_is_lost(owner: Page, breakable: System, faults: Faults) -> None:
    breakable.users[0].kill()
    faults.expect(503)
    open_list(owner)
    expect(names(owner)).to_have_text(["Buy milk"])
    expect(owner.locator("#list-note")).to_contain_text("Your own list")
    expect(owner.get_by_test_id("logout")).to_be_visible()
    expect(owner.get_by_test_id("login")).to_be_hidden()
    name, error = owner.get_by_test_id("profile-name"), owner.get_by_test_id("profile-error")
    expect(name).to_have_text("No answer")
    expect(error).to_have_text("Profile unavailable")
    expect(owner.locator("#announcer-session")).to_contain_text(
        "Profile unavailable. A service behind the gateway is unavailable. Try again in 1 second."
    )
    action(owner, "Complete", "Buy milk").click()
    expect(status_of(owner, "Buy milk")).to_have_text("Done")
    expect(owner.get_by_test_id("mesh-trunk-user")).to_have_attribute("data-failed", re.compile("[1-9]"))
    bell, notices = owner.get_by_test_id("bell"), owner.get_by_role("dialog", name="Notices")
    bell.click()
    expect(notices.get_by_role("alert")).to_contain_text("A service behind the gateway is unavailable.")
    owner.keyboard.press("Escape")

    breakable.users[0].restart()
    owner.get_by_role("button", name="Try again").click()
    expect(name).to_have_text(re.compile("^owner"))
    expect(error).to_be_hidden()
    bell.click()
    expect(notices.get_by_text("No notices yet")).to_be_visible()

    owner.context.clear_cookies()
    open_list(owner)
    breakable.users[0].kill()
    owner.get_by_test_id("register").click()
    submit(owner, "Register", "patient")
    expect(dialog(owner).get_by_role("alert")).to_contain_text("A service behind the gateway is unavailable.")
    expect(dialog(owner).get_by_label("Password", exact=True)).to_have_value(PASSWORD)
    breakable.users[0].restart()
    dialog(owner).get_by_role("button", name="Register", exact=True).click()
    expect(name).to_have_text("patient")


def test_with_rule_dead_the_rest_works_and_no_input_is_lost(owner: Page, breakable: System, faults: Faults) -> None:
    breakable.rule.kill()
    faults.expect(503)
    owner.goto("/?q=milk")
    error = owner.get_by_test_id("list-error")
    expect(error.get_by_role("alert")).to_contain_text("The list could not be loaded")
    expect(error.get_by_role("alert")).to_contain_text("A service behind the gateway is unavailable.")
    expect(owner.get_by_test_id("profile-name")).to_have_text(re.compile("^owner"))
    expect(owner.get_by_test_id("empty")).to_be_hidden()
    expect(owner.get_by_test_id("mesh-edge-rule")).to_have_attribute("data-failed", "1")

    breakable.rule.restart()
    error.get_by_role("button", name="Try again").click()
    expect(names(owner)).to_have_text(["Buy milk"])
    expect(error).to_be_hidden()
    expect(owner.get_by_test_id("search")).to_have_value("milk")

    open_list(owner)
    breakable.rule.kill()
    # A change of status says that it did not happen, and shows what is true.
    action(owner, "Complete", "Buy milk").click()
    expect(owner.locator("#toast-alert")).to_contain_text("Not saved: A service behind the gateway is unavailable.")
    expect(status_of(owner, "Buy milk")).to_have_text("In progress")

    action(owner, "Delete", "Buy milk").click()
    dialog(owner).get_by_role("button", name="Delete").click()
    expect(dialog(owner).get_by_role("alert")).to_contain_text("A service behind the gateway is unavailable.")
    dialog(owner).get_by_role("button", name="Cancel").click()
    expect(names(owner)).to_have_text(["Buy milk"])

    fill_in(owner, "A long thought", "that takes long to type")
    create(owner)
    expect(dialog(owner).get_by_role("alert")).to_contain_text("A service behind the gateway is unavailable.")
    breakable.rule.restart()
    create(owner)
    expect(names(owner)).to_have_text(["A long thought", "Buy milk"])
    assert [item["desc"] for item in stored(owner)] == ["that takes long to type", ""]


def test_an_error_is_named(guest: Page, faults: Faults) -> None:
    faults.expect(429, 500, 503, 504)
    open_list(guest)
    error, by_name = guest.get_by_test_id("list-error"), guest.get_by_role("columnheader", name="Name")
    for status, headers, text in (
        (429, {"Retry_After": "7"}, "Too many attempts. Try again in 7 seconds."),
        (500, {}, "The service had an internal error."),
        (503, {"Retry_After": "120"}, "A service behind the gateway is unavailable. Try again in 2 minutes."),
        (504, {}, "A service behind the gateway did not answer in time."),
    ):
        guest.route("**/api/rule?*", failing(status, {"traceId": "4bf92f3577b34da6"}, **headers))
        (error if error.is_visible() else by_name).get_by_role("button").click()
        expect(error.get_by_role("alert").get_by_role("paragraph")).to_have_text(text)
        expect(error).to_contain_text(f"{status} · Trace 4bf92f3577b34da6")
    guest.route("**/api/rule?*", lambda route: route.fulfill(body="<html>a captive portal", content_type="text/html"))
    error.get_by_role("button").click()
    expect(error).to_contain_text("The server returned an invalid response.")


def test_in_chinese_no_error_speaks_english(visit: Visit, faults: Faults) -> None:
    page = visit(locale="zh-CN")
    faults.expect(418, 422)
    english = {
        "title": "Nothing but English",
        "detail": "This is for developers.",
        "traceId": "4711",
        "errors": [{"field": field, "message": "Not good enough"} for field in ("name", "desc", "status")],
    }
    page.route("**/api/rule?*", failing(418, english))
    open_list(page)
    error = page.get_by_test_id("list-error")
    expect(error).to_contain_text("418 · ")
    assert not re.search("[a-z]", error.get_by_role("alert").get_by_role("paragraph").inner_text())

    page.route("**/api/rule", failing(422, english))
    page.get_by_test_id("new-item").click()
    page.get_by_label("名称", exact=True).fill("牛奶")
    page.get_by_role("button", name="创建", exact=True).click()
    expect(dialog(page).locator(".field-error:visible")).to_have_count(2)
    assert not re.search("[a-z]", dialog(page).inner_text())


def test_loading_and_without_network(member: Page, faults: Faults) -> None:
    add_items(member, "Here")
    held = hold(member, lambda request: "/api/rule" in request.url)
    member.goto("/")
    expect(member.locator("#skeleton")).to_be_visible()
    expect(member.get_by_test_id("empty")).to_be_hidden()
    held[0].continue_()
    expect(names(member)).to_have_text(["Here"])
    expect(member.locator("#skeleton")).to_be_hidden()
    member.unroute_all()

    faults.expect("ERR_INTERNET_DISCONNECTED")
    member.context.set_offline(True)
    action(member, "Pause", "Here").click()
    expect(member.locator("#toast-alert")).to_contain_text("It is not known whether it was saved: The gateway")
    member.get_by_role("columnheader", name="Name").get_by_role("button").click()
    expect(member.get_by_test_id("list-error")).to_contain_text("The gateway cannot be reached.")

    member.context.set_offline(False)
    hurry(member)
    member.get_by_role("button", name="Try again").click()
    expect(names(member)).to_have_text(["Here"])
    expect(member.locator("#toast-alert")).to_contain_text("It was looked up: it has not been saved.")
    expect(status_of(member, "Here")).to_have_text("In progress")


def test_nothing_is_selected_in_a_list_that_could_not_be_loaded(member: Page, faults: Faults) -> None:
    add_items(member, "Here", "Other")
    open_list(member)
    member.get_by_role("checkbox", name="Here").check()
    selected = member.get_by_role("button", name="Delete selected")
    expect(selected).to_be_visible()
    faults.expect(503)
    member.route("**/api/rule?*", failing(503))
    member.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(member.get_by_test_id("list-error")).to_be_visible()
    expect(selected).to_be_hidden()
    # It is kept for the list that comes at last.
    member.unroute_all()
    member.get_by_role("button", name="Try again").click()
    expect(selected).to_be_visible()
    expect(member.get_by_role("checkbox", name="Here")).to_be_checked()


def test_the_policy_forbids_what_markup_could_do(guest: Page, faults: Faults) -> None:
    """It also shows that `visit` sees such errors in the other tests."""
    open_list(guest)
    guest.evaluate("document.body.setAttribute('style', 'color: red')")
    guest.evaluate("setTimeout(() => { throw new Error('uncaught on purpose') })")
    with guest.expect_event("console", lambda message: "in the end" in message.text):
        guest.evaluate("setTimeout(() => console.error('in the end'), 20)")
    for text in ("policy: style-src-attr refused inline", "uncaught on purpose", "in the end"):
        assert any(text in fault for fault in faults.found), faults.found
    faults.found.clear()
