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
    dialog,
    expect_settled,
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
        "Profile unavailable. A service behind the gateway is unavailable."
    )
    languages = owner.get_by_test_id("lang-switch")
    languages.get_by_label("中文").check()
    expect(owner.locator("#profile-error[title='网关后面的服务暂时不可用。请在1秒钟后重试。']")).to_be_visible()
    languages.get_by_label("English").check()
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
    expect(owner.get_by_test_id("profile-variant")).to_have_text("v1")
    expect(owner.get_by_test_id("empty")).to_be_hidden()
    expect(owner.get_by_test_id("mesh-edge-rule")).to_have_attribute("data-failed", "1")
    error.get_by_role("button", name="Try again").click()
    expect(owner.get_by_test_id("mesh-edge-rule")).to_have_attribute("data-failed", "2")
    expect(error).to_be_visible()

    breakable.rule.restart()
    error.get_by_role("button", name="Try again").click()
    expect(names(owner)).to_have_text(["Buy milk"])
    expect(error).to_be_hidden()
    expect(owner.get_by_test_id("search")).to_have_value("milk")

    owner.get_by_test_id("search").fill("")
    owner.get_by_test_id("search").press("Enter")
    expect_settled(owner)
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

    owner.get_by_test_id("new-item").click()
    owner.get_by_label("Name", exact=True).fill("A long thought")
    owner.get_by_label("Description").fill("that nobody wants to type twice")
    create = owner.get_by_role("button", name="Create", exact=True)
    create.click()
    expect(dialog(owner).get_by_role("alert")).to_contain_text("A service behind the gateway is unavailable.")
    expect(owner.get_by_label("Name", exact=True)).to_have_value("A long thought")
    expect(owner.get_by_label("Description")).to_have_value("that nobody wants to type twice")

    breakable.rule.restart()
    create.click()
    expect(names(owner)).to_have_text(["A long thought", "Buy milk"])
    assert [item["desc"] for item in stored(owner)] == ["that nobody wants to type twice", ""]


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


CHINESE = re.compile(r"[\u4e00-\u9fff]")
STATUSES = (400, 401, 403, 404, 405, 408, 409, 413, 415, 418, 422, 429, 431, 500, 501, 502, 503, 504, 507)


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
    shown = error.get_by_role("alert").get_by_role("paragraph").inner_text()
    texts: dict[str, str] = page.evaluate(
        """async ([statuses, problem]) => {
          const { ApiError } = await import('/modules/api.js');
          const { errorText } = await import('/modules/messages.js');
          // A 422 of a list has no fields of a form.
          const body = (status) => ({ ...problem, ...status === 422 && { errors: [] } });
          const error = (status) => new ApiError('http', { status, problem: body(status) });
          return Object.fromEntries(statuses.map((status) => [status, errorText(error(status))]));
        }""",
        [STATUSES, english],
    )
    assert texts["418"] == shown
    for text in texts.values():
        assert CHINESE.search(text), text
        assert not re.search("[a-z]", text.replace("Cookie", "")), text
    # 502 and 503 are one to a reader.
    assert len(set(texts.values())) == len(STATUSES) - 1

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
    expect(member.locator("#list-body")).to_have_attribute("aria-busy", "true")
    expect(member.locator("#skeleton")).to_be_visible()
    expect(member.get_by_test_id("empty")).to_be_hidden()
    held[0].continue_()
    expect_settled(member)
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
    answer = guest.goto("/")
    expect_settled(guest)
    assert answer is not None
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    guest.evaluate("document.body.setAttribute('style', 'color: red')")
    # This also shows that the watch over the other tests is awake.
    guest.evaluate("new Promise(requestAnimationFrame)")
    assert any("policy: style-src-attr refused inline" in fault for fault in faults.found), faults.found
    guest.evaluate("setTimeout(() => { throw new Error('uncaught on purpose') })")
    guest.evaluate("console.error('said on purpose')")
    with guest.expect_event("console", lambda message: "in the end" in message.text):
        guest.evaluate("setTimeout(() => console.info('in the end'), 20)")
    assert any("uncaught on purpose" in fault for fault in faults.found)
    assert any("said on purpose" in fault for fault in faults.found)
    faults.found.clear()
