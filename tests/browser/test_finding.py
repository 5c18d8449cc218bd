"""Search, filter, order and pages, and that the address keeps them."""

import re

from playwright.sync_api import expect

from tests.browser.screen import Screen, answering

MIXED = (
    {"name": "Buy milk", "status": 2},
    {"name": "Call Ada", "status": 3},
    {"name": "Buy bread", "status": 1},
    {"name": "Drop the 牛奶", "status": 0},
)


def expect_address(screen: Screen, query: str) -> None:
    expect(screen.page).to_have_url(re.compile(f"/{re.escape(query)}$"))


def test_search_by_name_and_filter_by_status(member: Screen) -> None:
    member.open_with(*MIXED)
    member.search.fill("buy")
    expect(member.names).to_have_text(["Buy bread", "Buy milk"])
    expect_address(member, "?q=buy")
    member.search.fill("牛奶")
    expect(member.names).to_have_text(["Drop the 牛奶"])
    member.search.fill("100%_\\")
    expect(member.empty).to_contain_text("No items match")
    expect(member.locator("#items")).to_be_hidden()

    member.get_by_role("button", name="Show all items").click()
    expect(member.names).to_have_count(4)
    expect(member.search).to_have_value("")
    expect(member.search).to_be_focused()
    expect_address(member, "")

    member.chip("Done").check()
    expect(member.names).to_have_text(["Buy milk"])
    member.chip("Paused").check()
    expect(member.names).to_have_text(["Call Ada", "Buy milk"])
    expect_address(member, "?status=2,3")
    # An item that stops fitting leaves the filtered list.
    member.action("Reopen", "Buy milk").click()
    expect(member.names).to_have_text(["Call Ada"])
    member.chip("Done").uncheck()
    member.chip("Paused").uncheck()
    expect(member.names).to_have_count(4)
    expect_address(member, "")


def test_enter_or_a_filter_searches_at_once(member: Screen) -> None:
    member.add_items(*MIXED)
    member.clock.install()
    # The clock stands still: only the key, or the filter, can have started the search.
    member.clock.pause_at(4_000_000_000)
    member.open()
    member.search.fill("ada")
    member.search.press("Enter")
    expect(member.names).to_have_text(["Call Ada"])
    member.search.fill("buy")
    member.chip("Done").check()
    expect(member.names).to_have_text(["Buy milk"])
    expect(member.search).to_have_value("buy")
    expect_address(member, "?q=buy&status=2")


def test_a_stale_answer_never_wins(member: Screen) -> None:
    member.open_with(*MIXED)
    held = member.hold(lambda request: "name=milk" in request.url)
    with member.expect_request("**/*name=milk*"):
        member.search.fill("milk")
    member.search.fill("ada")
    expect(member.names).to_have_text(["Call Ada"])
    held[0].fulfill(json={"data": [], "total": 0, "totalIsExact": True, "current": 1, "pageSize": 20})

    # After another round trip and a new drawing, an answer that was let through would show.
    member.evaluate("fetch('/healthz').then(() => 0)")
    member.set_language("中文")
    expect(member.names).to_have_text(["Call Ada"])

    # Nor does a late failure hide a newer list.
    with member.expect_request("**/*name=milk*"):
        member.search.fill("milk")
    member.search.fill("buy")
    expect(member.names).to_have_count(2)
    held[1].abort("aborted")
    expect(member.list_error).to_be_hidden()
    expect(member.names).to_have_count(2)


def test_sort_by_a_header(member: Screen) -> None:
    member.open_with(MIXED[2], MIXED[0], MIXED[1], MIXED[3])
    before = member.header("Created")
    expect(before).to_have_attribute("aria-sort", "descending")
    for column, ways, order in (
        ("Name", ("ascending", "descending"), ["Buy bread", "Buy milk", "Call Ada", "Drop the 牛奶"]),
        ("Status", ("ascending", "descending"), ["Drop the 牛奶", "Buy bread", "Buy milk", "Call Ada"]),
        ("Changed", ("descending", "ascending"), ["Drop the 牛奶", "Call Ada", "Buy milk", "Buy bread"]),
    ):
        for way, shown in zip(ways, (order, order[::-1]), strict=True):
            member.sort_by(column)
            expect(member.header(column)).to_have_attribute("aria-sort", way)
            expect(member.names).to_have_text(shown)
        expect(before).not_to_have_attribute("aria-sort", re.compile("."))
        before = member.header(column)


def test_reload_and_back_keep_search_filter_order_and_page(member: Screen) -> None:
    member.open_with(*(f"Chore {number:02}" for number in range(1, 24)), "Another", path="/?q=chore")
    expect(member.range).to_have_text("1–20 of 23")
    expect(member.get_by_role("button", name="Previous page")).to_be_disabled()
    member.chip("In progress").check()
    expect_address(member, "?q=chore&status=1")
    member.sort_by("Name")
    expect_address(member, "?q=chore&status=1&sort=name_ascend")
    member.get_by_label("Per page").select_option("10")
    expect(member.names).to_have_text([f"Chore {number:02}" for number in range(1, 11)])
    member.next_page.click()
    expect(member.range).to_have_text("11–20 of 23")
    expect(member.get_by_role("button", name="Page 2", exact=True)).to_have_attribute("aria-current", "page")
    member.get_by_role("button", name="Page 3", exact=True).click()
    end = "?q=chore&status=1&sort=name_ascend&page=3&size=10"
    expect_address(member, end)

    member.reload()
    expect(member.names).to_have_text(["Chore 21", "Chore 22", "Chore 23"])
    expect(member.next_page).to_be_disabled()
    expect(member.search).to_have_value("chore")
    expect(member.chip("In progress")).to_be_checked()
    expect(member.get_by_label("Per page")).to_have_value("10")
    expect(member.header("Name")).to_have_attribute("aria-sort", "ascending")

    for _ in range(4):
        member.go_back()
    expect_address(member, "?q=chore&status=1")
    expect(member.names).to_have_text([f"Chore {number:02}" for number in range(23, 3, -1)])
    expect(member.header("Name")).not_to_have_attribute("aria-sort", re.compile("."))
    member.go_back()
    expect(member.chip("In progress")).not_to_be_checked()
    for _ in range(5):
        member.go_forward()
    expect_address(member, end)
    expect(member.names).to_have_text(["Chore 21", "Chore 22", "Chore 23"])

    member.select_all.check()
    member.delete_selected.click()
    member.choose("Delete")
    # The page that is gone is not shown as an empty list.
    expect(member.range).to_have_text("11–20 of 20")
    expect_address(member, end.replace("page=3", "page=2"))
    member.get_by_label("Per page").select_option("50")
    expect(member.names).to_have_count(20)
    expect(member.locator("#pager").get_by_role("button")).to_have_count(0)


def test_an_address_that_makes_no_sense_shows_the_list(member: Screen) -> None:
    (item,) = member.add_items("Here")
    asked = member.requests_of(path="/api/rule")
    member.open("/?page=-3&size=7&sort=owner_up&status=9,x&q=%20")
    expect(member.names).to_have_text(["Here"])
    assert [request.url.rpartition("?")[2] for request in asked] == ["current=1&pageSize=20&sorter=createdAt_descend"]
    # A page beyond the end becomes the last one.
    member.open("/?page=7")
    expect(member.names).to_have_text(["Here"])
    expect_address(member, "")
    # A total that was not counted to the end
    page = {"data": [item], "total": 10000, "totalIsExact": False, "current": 500, "pageSize": 20}
    member.route("**/api/rule?*", answering(page))
    member.open("/?page=500")
    expect(member.range).to_have_text("9,981–9,981 of 10,000+")
    expect(member.locator("#announcer-items")).to_have_text("At least 10,000 items")
    expect(member.locator("#pager")).to_contain_text("Only the first 10,000 items have pages.")
    expect(member.next_page).to_be_disabled()
