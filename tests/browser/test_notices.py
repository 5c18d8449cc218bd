"""The bell: how many notices are not read, their list, and the way of each event."""

import re

from playwright.sync_api import APIResponse, Route, expect

from tests.browser.screen import Screen
from tests.support import wait_until


def wait_for_notices(screen: Screen, count: int) -> None:
    """Wait until both versions of user count so many; each may be a second late."""
    unread: dict[str, int] = {}

    def count_again() -> dict[str, int]:
        profile = screen.request.get("/api/currentUser").json()
        unread[profile["version"]] = profile["unreadCount"]
        return unread

    wait_until(lambda: count_again() == {"v1": count, "v2": count}, "the notices are counted")


def test_a_change_rings_the_bell_and_the_panel_shows_the_way_of_its_event(member: Screen) -> None:
    name = "<b>mine</b> & \u202ereversed"
    member.open()
    expect(member.bell).to_have_accessible_name("Notices, all read")
    member.create(name)
    expect(member.bell).to_have_accessible_name("Notices, 1 not read")
    expect(member.bell).to_have_text("1")

    line = member.get_by_test_id("event")
    expect(line).to_contain_text("todolist.item.created")
    expect(line.locator(".hop").first).to_have_text("rule")
    expect(line.locator(".hop").last).to_have_text(re.compile("^user v[12]$"))
    expect(line.locator(".log-ms")).to_have_text(re.compile("ms$"))
    user = line.locator(".hop").last.inner_text()
    expect(member.get_by_test_id(f"mesh-event-{user.replace(' ', '-')}")).to_have_attribute("data-count", "1")
    expect(member.locator("#mesh-text")).to_contain_text(re.compile(f"1 event from rule to {user}, after .* ms"))

    # It stays over a reload, and is not shown twice.
    wait_for_notices(member, 1)
    member.open()
    expect(member.bell).to_have_accessible_name("Notices, 1 not read")
    expect(line).to_have_count(1)
    member.bell.click()
    expect(member.dialog.get_by_role("listitem").locator("bdi")).to_have_text([name])
    member.choose("Close")
    # A guest does not see it.
    member.logout.click()
    expect(member.login).to_be_visible()
    member.bell.click()
    expect(member.dialog.get_by_text("mine")).to_have_count(0)


def test_the_list_is_read_with_the_keyboard_alone(member: Screen) -> None:
    (milk,) = member.add_items({"name": "milk", "status": 2})
    member.request.put("/api/rule", data={"key": milk["key"], "status": 1})
    member.delete(milk)
    wait_for_notices(member, 4)
    member.open()
    expect(member.bell).to_have_accessible_name("Notices, 4 not read")
    member.bell.press("Enter")
    lines = member.get_by_role("dialog", name="Notices").get_by_role("listitem")
    expect(lines).to_have_text(
        [re.compile(rf"^{what}: milk \(not read\)now · rule → user v[12] after .*ms$") for what in
         ("Deleted", "Reopened", "Done", "Created")]
    )  # fmt: skip
    read = member.dialog.get_by_role("button", name="Mark all as read")
    read.press("Enter")
    expect(member.bell).to_have_accessible_name("Notices, all read")
    expect(lines.first).not_to_contain_text("not read")
    expect(read).to_be_hidden()
    expect(member.dialog.get_by_role("button", name="Close")).to_be_focused()
    member.keyboard.press("Escape")
    expect(member.bell).to_be_focused()
    wait_for_notices(member, 0)


def test_more_than_the_list_has_are_counted_in_chinese_too(member: Screen) -> None:
    member.add_items(*(f"牛奶 {number}" for number in range(25)))
    wait_for_notices(member, 25)
    member.open("/?size=50")
    member.select_all.check()
    member.delete_selected.click()
    member.choose("Delete")
    # More notices at once than the list has.
    expect(member.bell).to_have_accessible_name("Notices, 50 not read", timeout=20_000)
    member.set_language("中文")
    member.set_viewport_size({"width": 360, "height": 800})
    expect(member.bell).to_have_accessible_name("通知，50 条未读")
    member.bell.click()
    lines = member.get_by_role("dialog", name="通知").get_by_role("listitem")
    expect(lines).to_have_count(20)
    expect(lines.first).to_have_text(re.compile(r"^删除：牛奶 \d+（未读）.* · rule → user v[12]，.* 后送达$"))


def test_the_bell_follows_the_newest_answer_only(member: Screen) -> None:
    member.add_items("milk")
    wait_for_notices(member, 1)
    held = member.hold(lambda request: "/api/notices" not in request.url)
    member.goto("/")
    # Before the first answer it does not say that all is read.
    expect(member.bell).to_have_accessible_name("Notices")
    # The list does not wait until it is known who asks.
    member.bell.click()
    expect(member.dialog).to_contain_text("Created: milk")
    member.choose("Close")
    for request in held:
        request.continue_()
    expect(member.profile_name).to_have_text(member.account)
    expect(member.bell).to_have_accessible_name("Notices, 1 not read")
    member.unroute_all()
    older: list[tuple[Route, APIResponse]] = []

    def delay_the_first(route: Route) -> None:
        if older or route.request.method != "GET":
            route.fallback()
        else:
            older.append((route, route.fetch()))

    member.route("**/api/notices", delay_the_first)
    member.bell.click()
    member.choose("Close")
    member.bell.click()
    member.choose("Mark all as read")
    expect(member.bell).to_have_accessible_name("Notices, all read")
    [(route, answer)] = older
    with member.expect_response("**/api/notices"):
        route.fulfill(response=answer)
    # The page has read it by then.
    member.choose("Close")
    expect(member.bell).to_have_accessible_name("Notices, all read")
