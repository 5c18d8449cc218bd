"""Working with todo items."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Visit
from tests.browser.screen import (
    action,
    add_items,
    answering,
    create,
    dialog,
    expect_settled,
    field_error,
    fill_in,
    hold,
    names,
    open_list,
    requests_of,
    row,
    status_of,
    stored,
    submit,
)


def test_create(member: Page) -> None:
    open_list(member)
    empty = member.get_by_test_id("empty")
    expect(empty.get_by_role("heading")).to_have_text("Nothing to do yet")
    expect(member.locator(".range")).to_have_text("No items")
    empty.get_by_role("button", name="New item").click()
    name, desc = member.get_by_label("Name", exact=True), member.get_by_label("Description")
    name.fill("Buy milk")
    desc.fill("Two bottles")
    create(member)

    expect(empty).to_be_hidden()
    expect(dialog(member)).to_have_count(0)
    expect(row(member, "Buy milk").locator(".desc")).to_have_text("Two bottles")
    expect(status_of(member, "Buy milk")).to_have_text("In progress")
    expect(member.locator("#toast-status")).to_have_text("Created “Buy milk”")
    assert [(item["name"], item["desc"]) for item in stored(member)] == [("Buy milk", "Two bottles")]

    # The form opens empty the next time; a double click creates one item.
    held = hold(member, lambda request: request.method == "POST")
    member.get_by_test_id("new-item").click()
    expect(name).to_have_value("")
    expect(desc).to_have_value("")
    name.fill("Only once")
    button = member.get_by_role("button", name="Create", exact=True)
    button.dblclick()
    expect(button).to_have_attribute("aria-disabled", "true")
    button.click(force=True)
    held[0].continue_()
    expect(names(member)).to_have_text(["Only once", "Buy milk"])
    assert len(held) == 1
    assert len(stored(member)) == 2


def test_what_does_not_fit_is_refused_beside_its_field(member: Page) -> None:
    open_list(member)
    writes = requests_of(member, "POST")
    fill_in(member, "", "kept")
    name, desc = member.get_by_label("Name", exact=True), member.get_by_label("Description")
    for text in ("   ", "x" * 201):
        name.fill(text)
        create(member)
        expect(field_error(member, "Name")).to_have_text("The name needs 1 to 200 characters.")
        expect(name).to_be_focused()
        expect(desc).to_have_value("kept")
    # It goes as soon as the field is mended, and not before.
    name.fill("x" * 202)
    expect(field_error(member, "Name")).to_be_visible()
    name.fill("Fits")
    expect(name).not_to_have_attribute("aria-invalid", "true")
    expect(dialog(member).locator(".field-error:visible")).to_have_count(0)

    desc.fill("y" * 2001)
    expect(dialog(member).get_by_text("2,001 / 2,000")).to_be_visible()
    create(member)
    expect(field_error(member, "Description")).to_have_text("The description can have at most 2,000 characters.")
    desc.fill("Fits")
    name.fill("\u200b\u2060\ufeff\u3164\ufffc")
    create(member)
    expect(field_error(member, "Name")).to_have_text("The name needs a character that can be seen.")
    assert not writes
    # Emoji of 2022 and 2024, which some Python or browser does not know.
    for emoji in ("\U0001fa77", "\U0001fae9"):
        name.fill(emoji)
        create(member)
        expect(names(member).first).to_have_text(emoji)
        member.get_by_test_id("new-item").click()


def test_edit(member: Page) -> None:
    add_items(member, {"name": "Buy milk", "desc": "Two bottles"}, "Another")
    open_list(member)
    action(member, "Edit", "Buy milk").click()
    name, desc = member.get_by_label("Name", exact=True), member.get_by_label("Description")
    expect(name).to_have_value("Buy milk")
    expect(desc).to_have_value("Two bottles")
    expect(dialog(member).get_by_label("In progress")).to_be_checked()
    name.fill("Buy oat milk")
    desc.fill("One bottle")
    dialog(member).get_by_label("Paused").check()
    member.get_by_role("button", name="Save").click()

    expect(status_of(member, "Buy oat milk")).to_have_text("Paused")
    expect(row(member, "Buy oat milk").locator(".desc")).to_have_text("One bottle")
    expect(member.locator("#toast-status")).to_have_text("Saved “Buy oat milk”")
    expect(names(member)).to_have_text(["Another", "Buy oat milk"])
    changed = stored(member)[1]
    assert (changed["name"], changed["desc"], changed["status"]) == ("Buy oat milk", "One bottle", 3)

    # A name opens its item, too; saving no change sends nothing.
    writes = requests_of(member, "PUT")
    row(member, "Another").get_by_role("button", name="Another", exact=True).click()
    member.get_by_role("button", name="Save").click()
    expect(member.locator("#toast-status")).to_have_text("Nothing to save")
    assert not writes


def test_complete_pause_resume_close_and_reopen(member: Page) -> None:
    add_items(member, "Buy milk")
    open_list(member)
    for what, status, number, note, offered in (
        ("Complete", "Done", 2, "Done: “Buy milk”", ["Reopen"]),
        ("Reopen", "In progress", 1, "“Buy milk” is in progress", ["Complete", "Pause", "Close"]),
        ("Pause", "Paused", 3, "Paused “Buy milk”", ["Complete", "Resume", "Close"]),
        ("Resume", "In progress", 1, "“Buy milk” is in progress", ["Complete", "Pause", "Close"]),
        ("Close", "Closed", 0, "Closed “Buy milk”", ["Reopen"]),
    ):
        action(member, what, "Buy milk").click()
        expect(status_of(member, "Buy milk")).to_have_text(status)
        expect(member.locator("#toast-status")).to_have_text(note)
        labels = [button.get_attribute("title") for button in row(member, "Buy milk").locator(".actions button").all()]
        assert labels == [*offered, "Edit", "Delete"]
        assert [item["status"] for item in stored(member)] == [number]


def test_deletion_of_one_of_several_and_of_all_is_confirmed_first(member: Page) -> None:
    rest = [f"Item {number}" for number in range(1, 10)]
    add_items(member, "Doomed", *reversed(rest))
    open_list(member)
    writes = requests_of(member, "DELETE")
    action(member, "Delete", "Doomed").click()
    confirm = member.get_by_role("alertdialog", name="Delete this item?")
    expect(confirm.get_by_role("listitem")).to_have_text(["Doomed"])
    confirm.get_by_role("button", name="Cancel").click()
    expect(names(member)).to_have_text([*rest, "Doomed"])
    assert not writes
    action(member, "Delete", "Doomed").click()
    confirm.get_by_role("button", name="Delete").click()
    expect(names(member)).to_have_text(rest)
    expect(member.locator("#toast-status")).to_have_text("1 item deleted")
    assert len(stored(member)) == 9

    bulk, every = member.get_by_role("group", name="Selection"), member.get_by_label("Select all on this page")
    expect(bulk).to_be_hidden()

    member.get_by_label("Select “Item 1”").check()
    member.get_by_label("Select “Item 3”").click(modifiers=["Shift"])
    expect(bulk).to_contain_text("3 selected")
    expect(every).to_have_js_property("indeterminate", True)
    member.get_by_label("Select “Item 2”").uncheck()
    expect(bulk).to_contain_text("2 selected")

    bulk.get_by_role("button", name="Delete selected").click()
    confirm = member.get_by_role("alertdialog", name="Delete 2 items?")
    expect(confirm.get_by_role("listitem")).to_have_text(["Item 1", "Item 3"])
    confirm.get_by_role("button", name="Delete").click()
    expect(names(member)).to_have_text(["Item 2", *rest[3:]])
    expect(member.locator("#toast-status")).to_have_text("2 items deleted")
    expect(bulk).to_be_hidden()

    every.check()
    bulk.get_by_role("button", name="Delete selected").click()
    confirm = member.get_by_role("alertdialog", name="Delete 7 items?")
    expect(confirm.get_by_text("and 2 more")).to_be_visible()
    confirm.get_by_role("button", name="Delete").click()
    expect(member.get_by_test_id("empty")).to_contain_text("Nothing to do yet")
    assert not stored(member)


def test_the_address_of_an_item_opens_it(member: Page, visit: Visit) -> None:
    items = add_items(member, {"name": "Far away", "desc": "Two"}, *(f"Item {number}" for number in range(25)))
    open_list(member, items[0]["href"])
    expect(names(member)).to_have_count(20)
    expect(member.get_by_label("Name", exact=True)).to_have_value("Far away")
    member.get_by_label("Description").fill("Three")
    member.get_by_role("button", name="Save").click()
    expect(member.locator("#toast-status")).to_have_text("Saved “Far away”")
    expect(dialog(member)).to_have_count(0)
    expect(member).not_to_have_url(re.compile("key="))
    member.go_back()
    member.go_forward()
    expect_settled(member)
    expect(dialog(member)).to_have_count(0)

    # Whoever may not see it has to log in first; then it opens.
    owner = member.request.get("/api/currentUser").json()["name"]
    stranger = open_list(visit(), items[0]["href"])
    expect(stranger.locator("#toast-alert")).to_have_text("The item of this address is not in this list.")
    stranger.get_by_test_id("login").click()
    submit(stranger, "Log in", owner)
    expect(stranger.get_by_label("Description")).to_have_value("Three")


def test_the_item_of_the_address_comes_too_late_to_replace_what_is_typed(member: Page) -> None:
    late = add_items(member, "Late")[0]
    held: list[Route] = hold(member, lambda request: "key=" in request.url and not held)
    member.goto(late["href"])
    fill_in(member, "A long thought")
    with member.expect_response("**/api/rule?key=*"):
        held[0].continue_()
    expect(dialog(member).get_by_role("heading")).to_have_text("New item")
    create(member)
    expect(member.locator("#toast-status")).to_have_text("Created “A long thought”")
    # It opens afterwards.
    expect(dialog(member).get_by_role("heading")).to_have_text("Edit item")
    expect(member.get_by_label("Name", exact=True)).to_have_value("Late")
    assert [item["name"] for item in stored(member)] == ["A long thought", "Late"]


def test_a_tab_that_becomes_visible_shows_what_another_one_changed(member: Page) -> None:
    gone = add_items(member, "kept", "gone")[1]
    open_list(member)
    row(member, "kept").get_by_role("checkbox").check()
    member.request.delete("/api/rule", data={"key": gone["key"]})
    add_items(member, "new")
    member.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(names(member)).to_have_text(["new", "kept"])
    expect(row(member, "kept").get_by_role("checkbox")).to_be_checked()


def test_times_are_by_the_clock_of_the_services(member: Page) -> None:
    item = add_items(member, "Here")[0]
    # The browser's is an hour ahead.
    member.add_init_script("{ const now = Date.now; Date.now = () => now() + 3_600_000; }")
    open_list(member)
    time = row(member, "Here").locator("time").first
    expect(time).to_have_text("now")

    # Only the list tells what time it is.
    hold(member, lambda request: "/api/rule" not in request.url)
    # After a sleep; and after less than two days, which perhaps began on the day before yesterday.
    for hours, text in ((2, "2 hr. ago"), (47, "1 day ago")):
        later = format_datetime(datetime.now(UTC) + timedelta(hours=hours, minutes=1), usegmt=True)
        member.route("**/api/rule?*", answering({"data": [item], "total": 1, "current": 1, "pageSize": 20}, date=later))
        member.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        expect(time).to_have_text(text)


def test_names_keep_their_direction_to_themselves(member: Page, unique: Callable[[str], str]) -> None:
    name = "\u202e" + "never ends"
    add_items(member, name, {"name": f"\u2067{name}", "status": 3})
    open_list(member)
    shown = row(member, name)
    shown.locator("[data-action=complete]").click()
    expect(member.locator("#toast-status bdi")).to_have_text(name)
    # Wherever a name is shown, it is isolated.
    expect(shown.locator(".name bdi")).to_have_text(name)
    shown.locator("[data-action=delete]").click()
    expect(dialog(member).locator("li > bdi")).to_have_text(name)
    assert member.locator("#profile-name").evaluate("node => getComputedStyle(node).unicodeBidi") == "isolate"
