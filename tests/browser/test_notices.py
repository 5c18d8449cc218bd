"""The bell: how many notices are not read, their list, and the way of each event."""

import re

from playwright.sync_api import APIResponse, Page, Route, expect

from tests.browser.conftest import Faults
from tests.browser.screen import add_items, hold, open_list
from tests.support import wait_until


def wait_for_notices(page: Page, count: int) -> None:
    """Wait until both variants of user count so many; each may be a second late."""
    unread: dict[str, int] = {}

    def count_again() -> dict[str, int]:
        profile = page.request.get("/api/currentUser").json()
        unread[profile["version"]] = profile["unreadCount"]
        return unread

    wait_until(lambda: count_again() == {"v1": count, "v2": count}, "the notices are counted")


def test_a_change_rings_the_bell_and_the_panel_shows_the_way_of_its_event(member: Page) -> None:
    bell, name = member.get_by_test_id("bell"), "<b>mine</b> & \u202ereversed"
    open_list(member)
    expect(bell).to_have_accessible_name("Notices, all read")
    member.get_by_test_id("new-item").click()
    member.get_by_role("dialog").get_by_label("Name").fill(name)
    member.get_by_role("button", name="Create").click()
    expect(bell).to_have_accessible_name("Notices, 1 not read")
    expect(bell).to_have_text("1")

    line = member.get_by_test_id("event")
    expect(line).to_contain_text("todolist.item.created")
    expect(line.locator(".hop").first).to_have_text("rule")
    expect(line.locator(".hop").last).to_have_text(re.compile("^user v[12]$"))
    expect(line.locator(".log-ms")).to_have_text(re.compile("ms$"))
    version = line.locator(".hop").last.inner_text().split()[1]
    expect(member.get_by_test_id(f"mesh-event-user-{version}")).to_have_attribute("data-count", "1")
    expect(member.locator("#mesh-text")).to_contain_text(
        re.compile(f"1 event from rule to user {version}, after .* ms")
    )

    # It stays over a reload, and is not shown twice.
    wait_for_notices(member, 1)
    open_list(member)
    expect(bell).to_have_accessible_name("Notices, 1 not read")
    expect(line).to_have_count(1)
    bell.click()
    expect(member.get_by_role("dialog").get_by_role("listitem").locator("bdi")).to_have_text([name])
    member.keyboard.press("Escape")
    member.get_by_test_id("logout").click()
    expect(member.get_by_test_id("login")).to_be_visible()
    bell.click()
    expect(member.get_by_role("dialog").get_by_text("mine")).to_have_count(0)


def test_the_list_is_read_with_the_keyboard_alone(member: Page) -> None:
    milk = add_items(member, {"name": "milk", "status": 2})[0]
    wait_for_notices(member, 2)
    member.request.put("/api/rule", data={"key": milk["key"], "status": 1})
    member.request.delete("/api/rule", data={"key": milk["key"]})
    wait_for_notices(member, 4)
    open_list(member)
    bell = member.get_by_test_id("bell")
    expect(bell).to_have_accessible_name("Notices, 4 not read")
    bell.focus()
    member.keyboard.press("Enter")
    dialog = member.get_by_role("dialog", name="Notices")
    lines = dialog.get_by_role("listitem")
    expect(lines).to_have_text(
        [re.compile(rf"^{what}: milk \(not read\)now · rule → user v[12] after .*ms$") for what in
         ("Deleted", "Reopened", "Done", "Created")]
    )  # fmt: skip
    dialog.get_by_role("button", name="Mark all as read").focus()
    member.keyboard.press("Enter")
    expect(bell).to_have_accessible_name("Notices, all read")
    expect(lines.first).not_to_contain_text("not read")
    expect(dialog.get_by_role("button", name="Mark all as read")).to_be_hidden()
    expect(dialog.get_by_role("button", name="Close")).to_be_focused()
    member.keyboard.press("Escape")
    expect(bell).to_be_focused()
    wait_for_notices(member, 0)


def test_more_than_the_list_has_are_counted_in_chinese_too(member: Page) -> None:
    add_items(member, *(f"牛奶 {number}" for number in range(25)))
    wait_for_notices(member, 25)
    open_list(member, "/?size=50")
    bell = member.get_by_test_id("bell")
    member.get_by_label("Select all on this page").check()
    member.get_by_role("button", name="Delete selected").click()
    member.get_by_role("alertdialog").get_by_role("button", name="Delete").click()
    # More notices at once than the list has.
    expect(bell).to_have_accessible_name("Notices, 50 not read", timeout=20_000)
    member.get_by_test_id("lang-switch").get_by_label("中文").check()
    member.set_viewport_size({"width": 360, "height": 800})
    expect(bell).to_have_accessible_name("通知，50 条未读")
    bell.click()
    lines = member.get_by_role("dialog", name="通知").get_by_role("listitem")
    expect(lines).to_have_count(20)
    expect(lines.first).to_have_text(re.compile(r"^删除：牛奶 \d+（未读）.* · rule → user v[12]，.* 后送达$"))


def test_the_bell_loads_before_it_is_known_who_asks(member: Page) -> None:
    held = hold(member, lambda request: "/api/notices" not in request.url)
    member.goto("/")
    member.get_by_test_id("bell").click()
    expect(member.get_by_role("dialog", name="Notices")).to_contain_text("No notices yet")
    for request in held:
        request.continue_()


def test_the_bell_follows_the_newest_answer_only(member: Page) -> None:
    add_items(member, "milk")
    wait_for_notices(member, 1)
    bell, dialog = member.get_by_test_id("bell"), member.get_by_role("dialog", name="Notices")
    profiles = hold(member, lambda request: "/api/currentUser" in request.url)
    open_list(member)
    # Before the first answer it does not say that all is read.
    expect(bell).to_have_accessible_name("Notices")
    profiles[0].continue_()
    expect(bell).to_have_accessible_name("Notices, 1 not read")
    member.unroute_all()
    older: list[tuple[Route, APIResponse]] = []

    def delay_the_first(route: Route) -> None:
        if older or route.request.method != "GET":
            route.fallback()
        else:
            older.append((route, route.fetch()))

    member.route("**/api/notices", delay_the_first)
    bell.click()
    dialog.get_by_role("button", name="Close").click()
    bell.click()
    dialog.get_by_role("button", name="Mark all as read").click()
    expect(bell).to_have_accessible_name("Notices, all read")
    [(route, answer)] = older
    with member.expect_response("**/api/notices"):
        route.fulfill(response=answer)
    # The page has read it by then.
    dialog.get_by_role("button", name="Close").click()
    expect(bell).to_have_accessible_name("Notices, all read")


def test_the_end_of_a_session_is_not_said_in_the_notices_of_the_guest(member: Page, faults: Faults) -> None:
    faults.expect(401)
    open_list(member)
    member.context.clear_cookies()
    with member.expect_response(lambda response: response.url.endswith("/api/notices") and response.status == 401):
        member.get_by_test_id("bell").click()
    expect(member.get_by_test_id("owner-notice")).to_contain_text("Your session has ended")
    expect(member.locator("#notices-body")).not_to_contain_text("Nothing was changed")
