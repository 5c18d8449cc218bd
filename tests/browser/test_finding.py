"""Search, filter, order and pages, and that the address keeps them."""

import re

from playwright.sync_api import Page, expect

from tests.browser.screen import action, add_items, answering, chip, hold, names, open_list, requests_of, stored

MIXED = (
    {"name": "Buy milk", "status": 2},
    {"name": "Call Ada", "status": 3},
    {"name": "Buy bread", "status": 1},
    {"name": "Drop the 牛奶", "status": 0},
)


def expect_address(page: Page, query: str) -> None:
    expect(page).to_have_url(re.compile(f"/{re.escape(query)}$"))


def test_search_by_name_and_filter_by_status(member: Page) -> None:
    add_items(member, *MIXED)
    open_list(member)
    search = member.get_by_test_id("search")
    search.fill("buy")
    expect(names(member)).to_have_text(["Buy bread", "Buy milk"])
    expect_address(member, "?q=buy")
    search.fill("牛奶")
    expect(names(member)).to_have_text(["Drop the 牛奶"])
    search.fill("100%_\\")
    expect(member.get_by_test_id("empty")).to_contain_text("No items match")
    expect(member.get_by_test_id("items")).to_be_hidden()

    member.get_by_role("button", name="Show all items").click()
    expect(names(member)).to_have_count(4)
    expect(search).to_have_value("")
    expect(search).to_be_focused()
    expect_address(member, "")

    chip(member, "Done").check()
    expect(names(member)).to_have_text(["Buy milk"])
    chip(member, "Paused").check()
    expect(names(member)).to_have_text(["Call Ada", "Buy milk"])
    expect_address(member, "?status=2,3")
    # An item that stops fitting leaves the filtered list.
    action(member, "Reopen", "Buy milk").click()
    expect(names(member)).to_have_text(["Call Ada"])
    chip(member, "Done").uncheck()
    chip(member, "Paused").uncheck()
    expect(names(member)).to_have_count(4)
    expect_address(member, "")


def test_enter_or_a_filter_searches_at_once(member: Page) -> None:
    add_items(member, *MIXED)
    member.clock.install()
    # The clock stands still: only the key, or the filter, can have started the search.
    member.clock.pause_at(4_000_000_000)
    open_list(member)
    search = member.get_by_test_id("search")
    search.fill("ada")
    search.press("Enter")
    expect(names(member)).to_have_text(["Call Ada"])
    search.fill("buy")
    chip(member, "Done").check()
    expect(names(member)).to_have_text(["Buy milk"])
    expect(search).to_have_value("buy")
    expect_address(member, "?q=buy&status=2")


def test_a_stale_answer_never_wins(member: Page) -> None:
    add_items(member, *MIXED)
    open_list(member)
    held = hold(member, lambda request: "name=milk" in request.url)
    search = member.get_by_test_id("search")
    with member.expect_request("**/*name=milk*"):
        search.fill("milk")
    search.fill("ada")
    expect(names(member)).to_have_text(["Call Ada"])
    held[0].fulfill(json={"data": [], "total": 0, "totalIsExact": True, "current": 1, "pageSize": 20})

    # After another round trip and a new drawing, an answer that was let through would show.
    member.evaluate("fetch('/healthz').then(() => 0)")
    member.get_by_test_id("lang-switch").get_by_label("中文").check()
    expect(names(member)).to_have_text(["Call Ada"])

    # Nor does a late failure hide a newer list.
    with member.expect_request("**/*name=milk*"):
        search.fill("milk")
    search.fill("buy")
    expect(names(member)).to_have_count(2)
    held[1].abort("aborted")
    expect(member.get_by_test_id("list-error")).to_be_hidden()
    expect(names(member)).to_have_count(2)


def test_sort_by_a_header(member: Page) -> None:
    add_items(member, {"name": "Buy bread", "status": 1}, *(item for item in MIXED if item["status"] != 1))
    open_list(member)
    before = member.get_by_role("columnheader", name="Created")
    expect(before).to_have_attribute("aria-sort", "descending")
    ways = ["ascending", "descending"]
    for field, first, order in (
        ("Name", 0, ["Buy bread", "Buy milk", "Call Ada", "Drop the 牛奶"]),
        ("Status", 0, ["Drop the 牛奶", "Buy bread", "Buy milk", "Call Ada"]),
        ("Changed", 1, ["Drop the 牛奶", "Call Ada", "Buy milk", "Buy bread"]),
    ):
        header = member.get_by_role("columnheader", name=field)
        header.get_by_role("button").click()
        expect(header).to_have_attribute("aria-sort", ways[first])
        expect(before).not_to_have_attribute("aria-sort", re.compile("."))
        expect(names(member)).to_have_text(order)
        header.get_by_role("button").click()
        expect(header).to_have_attribute("aria-sort", ways[1 - first])
        expect(names(member)).to_have_text(order[::-1])
        before = header


def test_pages_and_page_size(member: Page) -> None:
    add_items(member, *(f"Item {number}" for number in range(23, 0, -1)))
    open_list(member)
    pager = member.get_by_test_id("pager")
    expect(pager.locator(".range")).to_have_text("1–20 of 23")
    expect(pager.get_by_role("button", name="Previous page")).to_be_disabled()
    pager.get_by_label("Per page").select_option("10")
    expect(names(member)).to_have_text([f"Item {number}" for number in range(1, 11)])
    pager.get_by_role("button", name="Next page").click()
    expect(pager.locator(".range")).to_have_text("11–20 of 23")
    expect(pager.get_by_role("button", name="Page 2", exact=True)).to_have_attribute("aria-current", "page")
    pager.get_by_role("button", name="Page 3", exact=True).click()
    expect(names(member)).to_have_text(["Item 21", "Item 22", "Item 23"])
    expect(pager.get_by_role("button", name="Next page")).to_be_disabled()
    expect_address(member, "?page=3&size=10")

    member.get_by_label("Select all on this page").check()
    member.get_by_role("button", name="Delete selected").click()
    member.get_by_role("alertdialog").get_by_role("button", name="Delete").click()
    # The page that is gone is not shown as an empty list.
    expect(pager.locator(".range")).to_have_text("11–20 of 20")
    expect_address(member, "?page=2&size=10")

    pager.get_by_label("Per page").select_option("50")
    expect(names(member)).to_have_count(20)
    expect(pager.get_by_role("button")).to_have_count(0)


def test_reload_and_back_keep_the_state(member: Page) -> None:
    add_items(member, *(f"Chore {number:02}" for number in range(12)), *MIXED)
    open_list(member)
    member.get_by_test_id("search").fill("chore")
    expect_address(member, "?q=chore")
    chip(member, "In progress").check()
    expect_address(member, "?q=chore&status=1")
    member.get_by_role("columnheader", name="Name").get_by_role("button").click()
    expect_address(member, "?q=chore&status=1&sort=name_ascend")
    member.get_by_label("Per page").select_option("10")
    expect(member.locator(".range")).to_have_text("1–10 of 12")
    member.get_by_role("button", name="Next page").click()
    expect(names(member)).to_have_text(["Chore 10", "Chore 11"])
    full = "?q=chore&status=1&sort=name_ascend&page=2&size=10"
    expect_address(member, full)

    member.reload()
    expect(names(member)).to_have_text(["Chore 10", "Chore 11"])
    expect(member.get_by_test_id("search")).to_have_value("chore")
    expect(chip(member, "In progress")).to_be_checked()
    expect(member.get_by_label("Per page")).to_have_value("10")
    expect(member.get_by_role("columnheader", name="Name")).to_have_attribute("aria-sort", "ascending")

    for _ in range(3):
        member.go_back()
    expect_address(member, "?q=chore&status=1")
    expect(names(member)).to_have_count(12)
    expect(names(member).first).to_have_text("Chore 11")
    expect(member.get_by_role("columnheader", name="Name")).not_to_have_attribute("aria-sort", re.compile("."))
    member.go_back()
    expect(chip(member, "In progress")).not_to_be_checked()
    for _ in range(4):
        member.go_forward()
    expect_address(member, full)
    expect(names(member)).to_have_text(["Chore 10", "Chore 11"])


def test_an_address_that_makes_no_sense_shows_the_list(member: Page) -> None:
    add_items(member, "Here")
    asked = requests_of(member, path="/api/rule")
    open_list(member, "/?page=-3&size=7&sort=owner_up&status=9,x&q=%20")
    expect(names(member)).to_have_text(["Here"])
    assert [request.url.rpartition("?")[2] for request in asked] == ["current=1&pageSize=20&sorter=createdAt_descend"]
    # A page beyond the end becomes the last one.
    open_list(member, "/?page=7")
    expect(names(member)).to_have_text(["Here"])
    expect_address(member, "")
    # A total that was not counted to the end
    item = stored(member)[0]
    page = {"data": [item], "total": 10000, "totalIsExact": False, "current": 500, "pageSize": 20}
    member.route("**/api/rule?*", answering(page))
    open_list(member, "/?page=500")
    expect(member.locator(".range")).to_have_text("9,981–9,981 of 10,000+")
    expect(member.locator("#announcer-items")).to_have_text("At least 10,000 items")
    expect(member.get_by_test_id("pager")).to_contain_text("Only the first 10,000 items have pages.")
    expect(member.get_by_role("button", name="Next page")).to_be_disabled()
