"""Working with todo items."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.browser.screen import Screen, answering


def test_a_double_click_creates_one_item(member: Screen) -> None:
    member.open()
    held = member.hold(lambda request: request.method == "POST")
    member.empty.get_by_role("button", name="New item").click()
    member.name.fill("Only once")
    button = member.get_by_role("button", name="Create", exact=True)
    button.dblclick()
    expect(button).to_have_attribute("aria-disabled", "true")
    button.click(force=True)
    held[0].continue_()
    expect(member.names).to_have_text(["Only once"])
    assert len(held) == 1
    assert len(member.stored()) == 1


def test_what_does_not_fit_is_refused_beside_its_field(member: Screen) -> None:
    member.open()
    writes = member.requests_of("POST")
    member.fill_in("", "kept")
    for name, error in (
        ("   ", "The name needs 1 to 200 characters."),
        ("x" * 201, "The name needs 1 to 200 characters."),
        ("\u200b\u2060\ufeff\u3164\ufffc", "The name needs a character that can be seen."),
    ):
        member.name.fill(name)
        member.choose("Create")
        expect(member.field_error("Name")).to_have_text(error)
        expect(member.name).to_be_focused()
        expect(member.desc).to_have_value("kept")
    # It goes as soon as the field is mended, and not before.
    member.name.fill("x" * 202)
    expect(member.field_error("Name")).to_be_visible()
    member.name.fill("Fits")
    expect(member.name).not_to_have_attribute("aria-invalid", "true")
    expect(member.dialog.locator(".field-error:visible")).to_have_count(0)

    member.desc.fill("y" * 2001)
    expect(member.dialog.get_by_text("2,001 / 2,000")).to_be_visible()
    member.choose("Create")
    expect(member.field_error("Description")).to_have_text("The description can have at most 2,000 characters.")
    assert not writes
    member.desc.fill("Fits")
    # Emoji of 2022 and 2024, which some Python or browser does not know.
    for emoji in ("\U0001fa77", "\U0001fae9"):
        member.name.fill(emoji)
        member.choose("Create")
        expect(member.names.first).to_have_text(emoji)
        member.new_item.click()


def test_edit(member: Screen) -> None:
    member.open_with({"name": "Buy milk", "desc": "Two bottles"}, "Another")
    member.action("Edit", "Buy milk").click()
    expect(member.name).to_have_value("Buy milk")
    expect(member.desc).to_have_value("Two bottles")
    expect(member.dialog.get_by_label("In progress")).to_be_checked()
    member.name.fill("Buy oat milk")
    member.desc.fill("One bottle")
    member.dialog.get_by_label("Paused").check()
    member.choose("Save")

    expect(member.status_of("Buy oat milk")).to_have_text("Paused")
    expect(member.row("Buy oat milk").locator(".desc")).to_have_text("One bottle")
    expect(member.message).to_have_text("Saved “Buy oat milk”")
    expect(member.names).to_have_text(["Another", "Buy oat milk"])
    changed = member.stored()[1]
    assert (changed["name"], changed["desc"], changed["status"]) == ("Buy oat milk", "One bottle", 3)

    # A name opens its item, too; saving no change sends nothing.
    writes = member.requests_of("PUT")
    member.row("Another").get_by_role("button", name="Another", exact=True).click()
    member.choose("Save")
    expect(member.message).to_have_text("Nothing to save")
    assert not writes


def test_complete_pause_resume_close_and_reopen(member: Screen) -> None:
    member.open_with("Buy milk")
    for what, status, number, message, offered in (
        ("Complete", "Done", 2, "Done: “Buy milk”", ["Reopen"]),
        ("Reopen", "In progress", 1, "“Buy milk” is in progress", ["Complete", "Pause", "Close"]),
        ("Pause", "Paused", 3, "Paused “Buy milk”", ["Complete", "Resume", "Close"]),
        ("Resume", "In progress", 1, "“Buy milk” is in progress", ["Complete", "Pause", "Close"]),
        ("Close", "Closed", 0, "Closed “Buy milk”", ["Reopen"]),
    ):
        member.action(what, "Buy milk").click()
        expect(member.status_of("Buy milk")).to_have_text(status)
        expect(member.message).to_have_text(message)
        labels = [button.get_attribute("title") for button in member.rows.locator(".actions button").all()]
        assert labels == [*offered, "Edit", "Delete"]
        assert [item["status"] for item in member.stored()] == [number]


def test_deletion_of_one_of_several_and_of_all_is_confirmed_first(member: Screen) -> None:
    rest = [f"Item {number}" for number in range(1, 10)]
    member.open_with("Doomed", *reversed(rest))
    writes = member.requests_of("DELETE")
    member.action("Delete", "Doomed").click()
    confirm = member.get_by_role("alertdialog", name="Delete this item?")
    expect(confirm.get_by_role("listitem")).to_have_text(["Doomed"])
    member.choose("Cancel")
    expect(member.names).to_have_text([*rest, "Doomed"])
    assert not writes
    member.action("Delete", "Doomed").click()
    member.choose("Delete")
    expect(member.names).to_have_text(rest)
    expect(member.message).to_have_text("1 item deleted")
    assert len(member.stored()) == 9

    bulk = member.get_by_role("group", name="Selection")
    expect(bulk).to_be_hidden()
    member.checkbox("Item 1").check()
    member.checkbox("Item 3").click(modifiers=["Shift"])
    expect(bulk).to_contain_text("3 selected")
    expect(member.select_all).to_have_js_property("indeterminate", True)
    member.checkbox("Item 2").uncheck()
    expect(bulk).to_contain_text("2 selected")

    member.delete_selected.click()
    confirm = member.get_by_role("alertdialog", name="Delete 2 items?")
    expect(confirm.get_by_role("listitem")).to_have_text(["Item 1", "Item 3"])
    member.choose("Delete")
    expect(member.names).to_have_text(["Item 2", *rest[3:]])
    expect(member.message).to_have_text("2 items deleted")
    expect(bulk).to_be_hidden()

    member.select_all.check()
    member.delete_selected.click()
    expect(member.get_by_role("alertdialog", name="Delete 7 items?")).to_contain_text("and 2 more")
    member.choose("Delete")
    expect(member.empty).to_contain_text("Nothing to do yet")
    assert not member.stored()


def test_the_address_of_an_item_opens_it(member: Screen, visit: Visit) -> None:
    far, *_ = member.add_items({"name": "Far away", "desc": "Two"}, *(f"Item {number}" for number in range(25)))
    member.open(far["href"])
    expect(member.names).to_have_count(20)
    expect(member.name).to_have_value("Far away")
    member.desc.fill("Three")
    member.choose("Save")
    expect(member.message).to_have_text("Saved “Far away”")
    expect(member.page).not_to_have_url(re.compile("key="))
    member.go_back()
    member.go_forward()
    member.expect_settled()
    expect(member.dialog).to_have_count(0)

    # Whoever may not see it has to log in first; then it opens.
    stranger = visit().open(far["href"])
    expect(stranger.warning).to_have_text("The item of this address is not in this list.")
    stranger.login.click()
    stranger.submit("Log in", member.profile_name.inner_text())
    expect(stranger.desc).to_have_value("Three")


def test_the_item_of_the_address_comes_too_late_to_replace_what_is_typed(member: Screen) -> None:
    (late,) = member.add_items("Late")
    held = member.hold(lambda request: "key=" in request.url and not held)
    member.goto(late["href"])
    member.fill_in("A long thought")
    with member.expect_response("**/api/rule?key=*"):
        held[0].continue_()
    expect(member.dialog.get_by_role("heading")).to_have_text("New item")
    member.choose("Create")
    expect(member.message).to_have_text("Created “A long thought”")
    # It opens afterwards.
    expect(member.dialog.get_by_role("heading")).to_have_text("Edit item")
    expect(member.name).to_have_value("Late")
    assert [item["name"] for item in member.stored()] == ["A long thought", "Late"]


def test_times_are_by_the_clock_of_the_services(member: Screen) -> None:
    (item,) = member.add_items("Here")
    # The browser's is an hour ahead.
    member.add_init_script("{ const now = Date.now; Date.now = () => now() + 3_600_000; }")
    member.open()
    time = member.row("Here").locator("time").first
    expect(time).to_have_text("now")

    # Only the list tells what time it is.
    member.hold(lambda request: "/api/rule" not in request.url)
    # After a sleep; and after less than two days, which perhaps began on the day before yesterday.
    for hours, text in ((2, "2 hr. ago"), (47, "1 day ago")):
        later = format_datetime(datetime.now(UTC) + timedelta(hours=hours, minutes=1), usegmt=True)
        member.route("**/api/rule?*", answering({"data": [item], "total": 1, "current": 1, "pageSize": 20}, date=later))
        member.become_visible()
        expect(time).to_have_text(text)
