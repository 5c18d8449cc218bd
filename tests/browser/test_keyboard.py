"""Keyboard and screen reader."""

import re

from playwright.sync_api import Locator, expect

from tests.browser.screen import Screen


def tab_to(screen: Screen, target: Locator) -> None:
    """Press Tab until the target has the focus."""
    # More stops than the page has.
    for _ in range(90):
        screen.keyboard.press("Tab")
        if target.and_(screen.locator(":focus")).count():
            return
    raise AssertionError(f"Tab never reaches {target}")


def test_create_and_delete_an_item(member: Screen) -> None:
    member.open()
    expect(member.empty.get_by_role("heading")).to_have_text("Nothing to do yet")
    expect(member.range).to_have_text("No items")
    skip = member.get_by_role("link", name="Skip to the items")
    member.keyboard.press("Tab")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport(ratio=1)
    member.keyboard.press("Enter")
    expect(member.get_by_role("heading", name="Todo items")).to_be_focused()
    member.keyboard.press("Tab")
    expect(member.new_item).to_be_focused()
    expect(skip).not_to_be_in_viewport()
    member.keyboard.press("Enter")
    expect(member.name).to_be_focused()
    member.keyboard.type("By hand")
    member.keyboard.press("Tab")
    member.keyboard.type("no mouse")
    tab_to(member, member.get_by_role("button", name="Create", exact=True))
    member.keyboard.press("Space")
    expect(member.message).to_have_text("Created “By hand”")
    expect(member.names).to_have_text(["By hand"])
    expect(member.row("By hand").locator(".desc")).to_have_text("no mouse")
    expect(member.status_of("By hand")).to_have_text("In progress")
    expect(member.empty).to_be_hidden()
    expect(member.new_item).to_be_focused()
    assert [(item["name"], item["desc"]) for item in member.stored()] == [("By hand", "no mouse")]
    # The form opens empty the next time.
    member.keyboard.press("Enter")
    expect(member.name).to_have_value("")
    expect(member.desc).to_have_value("")
    member.keyboard.press("Escape")

    tab_to(member, member.action("Delete", "By hand"))
    member.keyboard.press("Enter")
    # The safe answer is the first one.
    expect(member.dialog.get_by_role("button", name="Cancel")).to_be_focused()
    member.keyboard.press("Tab")
    expect(member.dialog.get_by_role("button", name="Delete")).to_be_focused()
    member.keyboard.press("Enter")
    expect(member.empty).to_be_visible()
    expect(member.get_by_role("heading", name="Todo items")).to_be_focused()
    assert not member.stored()


def test_escape_closes_a_dialog_and_does_not_drop_what_was_typed(member: Screen) -> None:
    member.open_with("Here")
    edit, question = member.action("Edit", "Here"), member.get_by_role("alertdialog", name="Discard what you entered?")
    edit.press("Enter")
    expect(member.name).to_be_focused()
    member.keyboard.press("Escape")
    expect(member.dialog).to_have_count(0)
    expect(edit).to_be_focused()
    # What was typed is not discarded without a question.
    for typed, opener in (("A long thought", member.new_item), ("Somewhere else", edit)):
        opener.press("Enter")
        member.name.fill(typed)
        # A browser lets a page hold back only one Esc of several in a row.
        for _ in range(3):
            member.keyboard.press("Escape")
            expect(question.get_by_role("button", name="Keep editing")).to_be_focused()
            member.keyboard.press("Escape")
            expect(question).to_be_hidden()
            expect(member.name).to_be_focused()
            expect(member.name).to_have_value(typed)
        member.keyboard.press("Escape")
        question.get_by_role("button", name="Discard").press("Enter")
        expect(member.dialog).to_have_count(0)
        expect(opener).to_be_focused()
    assert [item["name"] for item in member.stored()] == ["Here"]
    # The name that was logged in last, which the page itself puts there, was not typed.
    member.context.clear_cookies()
    member.reload_profile()
    member.login.click()
    expect(member.user_name).not_to_have_value("")
    member.keyboard.press("Escape")
    expect(member.dialog).to_have_count(0)
    expect(member.login).to_be_focused()


def test_a_reload_asks_before_it_drops_what_was_typed(member: Screen) -> None:
    member.open()
    asked: list[str] = []
    member.on("dialog", lambda question: (asked.append(question.type), question.accept()))
    for typed, questions in (("", []), ("A long thought", ["beforeunload"])):
        member.new_item.click()
        member.name.press_sequentially(typed)
        member.reload()
        assert asked == questions
        member.expect_settled()


def test_the_focus_stays_where_the_work_is(member: Screen) -> None:
    member.open_with(*(f"Item {number}" for number in range(12)), path="/?size=10")
    # In the row whose status changes.
    member.action("Complete", "Item 9").press("Enter")
    expect(member.status_of("Item 9")).to_have_text("Done")
    expect(member.action("Reopen", "Item 9")).to_be_focused()
    # At the item that takes the place of a deleted one.
    member.action("Delete", "Item 8").press("Enter")
    member.dialog.get_by_role("button", name="Delete").press("Enter")
    expect(member.row("Item 8")).to_have_count(0)
    expect(member.action("Delete", "Item 7")).to_be_focused()
    # In the pager.
    member.next_page.press("Enter")
    expect(member.range).to_have_text("11–11 of 11")
    expect(member.get_by_role("button", name="Page 2", exact=True)).to_be_focused()
    # In the filter, and at the selection that was cleared.
    tab_to(member, member.chip("In progress"))
    member.keyboard.press("Space")
    expect(member.range).to_have_text("1–10 of 10")
    expect(member.chip("In progress")).to_be_focused()
    member.checkbox("Item 11").press("Space")
    member.get_by_role("button", name="Clear selection").press("Enter")
    expect(member.checkbox("Item 11")).not_to_be_checked()
    expect(member.select_all).to_be_focused()


def test_a_screen_reader_names_every_control_and_announces_changes(member: Screen) -> None:
    member.open_with("One", "Two", {"name": "Three", "status": 2})
    controls = re.compile(
        r"- (button|textbox|searchbox|checkbox|combobox|slider|switch|link|list)\b( \".*\S.*\")?[ :]?"
    )
    page = member.locator("body").aria_snapshot()
    member.new_item.click()
    for tree in (page, member.dialog.aria_snapshot()):
        found = controls.findall(tree)
        assert len(found) > 3
        assert all(name for _, name in found), tree
    # A name is the word alone.
    assert {*re.findall('- radio "(.*)"', page)} == {"中文", "English", "Same as system", "Light", "Dark"}
    member.keyboard.press("Escape")
    # A region that is hidden from the tree would stay silent, and has no role.
    for region, role in (
        ("#announcer-items", "status"),
        ("#announcer-session", "status"),
        ("#toast-status", "status"),
        ("#toast-alert", "alert"),
        ("#traffic-state", "status"),
    ):
        expect(member.get_by_role(role).and_(member.locator(region)), region).to_have_count(1)
    expect(member.locator("#announcer-items")).to_have_text("3 items")
    member.chip("Done").check()
    expect(member.locator("#announcer-items")).to_have_text("1 item")
