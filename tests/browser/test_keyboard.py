"""Keyboard and screen reader."""

from playwright.sync_api import Locator, Page, expect

from tests.browser.screen import action, add_items, chip, dialog, expect_settled, names, open_list, status_of, stored

# More stops than the page has.
STOPS = 90


def tab_to(page: Page, target: Locator) -> None:
    """Press Tab until the target has the focus."""
    for _ in range(STOPS):
        page.keyboard.press("Tab")
        if target.evaluate("node => node === document.activeElement"):
            return
    raise AssertionError(f"Tab never reaches {target}")


def test_create_and_delete_an_item(member: Page) -> None:
    open_list(member)
    new, skip = member.get_by_test_id("new-item"), member.get_by_role("link", name="Skip to the items")
    member.keyboard.press("Tab")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport(ratio=1)
    member.keyboard.press("Enter")
    expect(member.get_by_role("heading", name="Todo items")).to_be_focused()
    member.keyboard.press("Tab")
    expect(new).to_be_focused()
    expect(skip).not_to_be_in_viewport()
    member.keyboard.press("Enter")
    expect(member.get_by_label("Name", exact=True)).to_be_focused()
    member.keyboard.type("By hand")
    member.keyboard.press("Tab")
    member.keyboard.type("no mouse")
    tab_to(member, member.get_by_role("button", name="Create", exact=True))
    member.keyboard.press("Space")
    expect(names(member)).to_have_text(["By hand"])
    expect(new).to_be_focused()

    delete = action(member, "Delete", "By hand")
    tab_to(member, delete)
    member.keyboard.press("Enter")
    confirm = member.get_by_role("alertdialog")
    # The safe answer is the first one.
    expect(confirm.get_by_role("button", name="Cancel")).to_be_focused()
    member.keyboard.press("Tab")
    expect(confirm.get_by_role("button", name="Delete")).to_be_focused()
    member.keyboard.press("Enter")
    expect(member.get_by_test_id("empty")).to_be_visible()
    expect(member.get_by_role("heading", name="Todo items")).to_be_focused()
    assert not stored(member)


def test_escape_closes_a_dialog_and_does_not_drop_what_was_typed(member: Page) -> None:
    add_items(member, "Here")
    open_list(member)
    edit, name = action(member, "Edit", "Here"), member.get_by_label("Name", exact=True)
    question = member.get_by_role("alertdialog", name="Discard what you entered?")
    edit.press("Enter")
    expect(name).to_be_focused()
    member.keyboard.press("Escape")
    expect(dialog(member)).to_have_count(0)
    expect(edit).to_be_focused()
    # What was typed is not discarded without a question.
    for typed, opener in (("A long thought", member.get_by_test_id("new-item")), ("Somewhere else", edit)):
        opener.press("Enter")
        name.fill(typed)
        # A browser lets a page hold back only one Esc of several in a row.
        for _ in range(3):
            member.keyboard.press("Escape")
            expect(question).to_be_visible()
            expect(question.get_by_role("button", name="Keep editing")).to_be_focused()
            member.keyboard.press("Escape")
            expect(question).to_be_hidden()
            expect(name).to_be_focused()
            expect(name).to_have_value(typed)
        member.keyboard.press("Escape")
        question.get_by_role("button", name="Discard").press("Enter")
        expect(dialog(member)).to_have_count(0)
        expect(opener).to_be_focused()
    assert [item["name"] for item in stored(member)] == ["Here"]
    # The name that was logged in last, which the page itself puts there, was not typed.
    member.context.clear_cookies()
    member.get_by_role("button", name="Reload the profile").click()
    login = member.get_by_test_id("login")
    expect(member.locator("#profile-kind")).to_have_text("Guest")
    login.click()
    expect(dialog(member)).to_have_count(1)
    expect(member.get_by_label("User name")).not_to_have_value("")
    member.keyboard.press("Escape")
    expect(dialog(member)).to_have_count(0)
    expect(login).to_be_focused()


def test_a_reload_asks_before_it_drops_what_was_typed(member: Page) -> None:
    open_list(member)
    asked: list[str] = []
    member.on("dialog", lambda question: (asked.append(question.type), question.accept()))
    for typed, questions in (("", []), ("A long thought", ["beforeunload"])):
        member.get_by_test_id("new-item").click()
        member.get_by_label("Name", exact=True).press_sequentially(typed)
        member.reload()
        assert asked == questions
        expect_settled(member)


def test_the_focus_stays_where_the_work_is(member: Page) -> None:
    add_items(member, *(f"Item {number}" for number in range(12)))
    open_list(member, "/?size=10")
    # In the row whose status changes.
    action(member, "Complete", "Item 9").press("Enter")
    expect(status_of(member, "Item 9")).to_have_text("Done")
    expect(action(member, "Reopen", "Item 9")).to_be_focused()
    # At the item that takes the place of a deleted one.
    action(member, "Delete", "Item 8").press("Enter")
    member.get_by_role("alertdialog").get_by_role("button", name="Delete").press("Enter")
    expect(action(member, "Delete", "Item 8")).to_have_count(0)
    expect(action(member, "Delete", "Item 7")).to_be_focused()
    # In the pager.
    member.get_by_role("button", name="Next page").press("Enter")
    expect(member.locator(".range")).to_have_text("11–11 of 11")
    expect(member.get_by_role("button", name="Page 2", exact=True)).to_be_focused()
    # In the filter, and at the selection that was cleared.
    tab_to(member, chip(member, "In progress"))
    member.keyboard.press("Space")
    expect(member.locator(".range")).to_have_text("1–10 of 10")
    expect(chip(member, "In progress")).to_be_focused()
    tab_to(member, member.get_by_label("Select “Item 11”"))
    member.keyboard.press("Space")
    tab_to(member, member.get_by_role("button", name="Clear selection"))
    member.keyboard.press("Enter")
    expect(member.get_by_label("Select “Item 11”")).not_to_be_checked()
    expect(member.get_by_label("Select all on this page")).to_be_focused()


def test_every_control_has_a_name(member: Page) -> None:
    """The browser itself computes what a screen reader reads out."""
    add_items(member, "Here")
    open_list(member)
    tree = member.context.new_cdp_session(member)

    def names_of(*roles: str) -> list[str]:
        nodes = tree.send("Accessibility.getFullAXTree")["nodes"]
        return [node["name"]["value"] for node in nodes if not node["ignored"] and node["role"]["value"] in roles]

    controls = "button", "textbox", "searchbox", "checkbox", "combobox", "slider", "switch", "link", "list"
    for opens_dialog in (False, True):
        if opens_dialog:
            member.get_by_test_id("new-item").click()
        found = names_of(*controls)
        assert len(found) > 3
        assert all(name.strip() for name in found), found
    member.keyboard.press("Escape")
    # A name is the word alone.
    assert {*names_of("radio")} == {"中文", "English", "Same as system", "Light", "Dark"}


def test_live_regions_announce(member: Page) -> None:
    add_items(member, "One", "Two", {"name": "Three", "status": 2})
    open_list(member)
    announcer = member.locator("#announcer-items")
    expect(announcer).to_have_role("status")
    expect(announcer).to_have_text("3 items")
    chip(member, "Done").check()
    expect(announcer).to_have_text("1 item")
    expect(member.locator("#toast-status")).to_have_role("status")
    expect(member.locator("#toast-alert")).to_have_role("alert")
    expect(member.locator("#traffic-state")).to_have_role("status")
    # A region that is hidden from the tree would stay silent.
    for region in ("#announcer-items", "#announcer-session", "#toast-status", "#toast-alert"):
        hidden = member.locator(region).evaluate("node => node.closest('[aria-hidden=true], [hidden]') !== null")
        assert not hidden, region
