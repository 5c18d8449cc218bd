"""Accessibility settings: forced colours, text spacing, larger fonts, a small screen."""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Locator, Page, expect
from playwright.sync_api import TimeoutError as SlowError

from tests.browser.conftest import Visit
from tests.browser.screen import (
    IS_WIDER,
    action,
    add_items,
    chip,
    dialog,
    expect_settled,
    open_list,
    requests_of,
    row,
    sign_up,
)

PHRASE = "A name of two hundred characters is possible, and rows must bear it. "
LONG = (PHRASE * 3)[:200]
CHINESE = "名称最多可以有二百个字符，列表里的每一行都要放得下。" * 5
MIXED = [{"name": LONG, "desc": LONG}, *({"name": f"Item {n}", "desc": "words", "status": n} for n in range(4))]
MIXED.append({"name": CHINESE, "status": 3})
WIDTHS = (1440, 1280, 1130, 900, 700, 360, 320)
# WCAG 2.2, 1.4.12
SPACED = """
* { line-height: 1.5 !important; letter-spacing: .12em !important; word-spacing: .16em !important; }
p { margin-bottom: 2em !important; }
"""
MEASURE = (Path(__file__).parent / "measure.js").read_text().partition("\n")[2].strip()
# A message that goes after 5 s would make a test race.
LASTING = """
const start = setTimeout;
window.setTimeout = (run, ms, ...rest) => (ms < 5000 ? start(run, ms, ...rest) : 0);
"""


def enlarge(page: Page) -> None:
    """Set the font size in the browser's settings to twice the usual."""
    session = page.context.new_cdp_session(page)
    session.send("Page.enable")
    session.send("Page.setFontSizes", {"fontSizes": {"standard": 32, "fixed": 26}})


def measured(page: Page, way: str) -> list[str]:
    """Return what one of the functions in measure.js finds."""
    return page.evaluate(f"{MEASURE}.{way}()")


def expect_readable(page: Page) -> None:
    assert not page.evaluate(IS_WIDER), page.viewport_size
    for way in ("collisions", "outside", "cutOff"):
        assert measured(page, way) == [], f"{way} at {page.viewport_size}"


def reader(visit: Visit, name: str, **options: object) -> Page:
    """A page of a user with items of all kinds."""
    page = visit(**options)
    sign_up(page, name)
    add_items(page, *MIXED)
    return page


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_more_space_in_texts_costs_none_of_them(visit: Visit, unique: Callable[[str], str], locale: str) -> None:
    page = reader(visit, unique("spaced"), locale=locale, bypass_csp=True)
    open_list(page)
    for style in ("/* as it is */", SPACED):
        page.add_style_tag(content=style)
        # The picture is drawn anew with each call.
        page.locator("#profile-reload").click()
        expect(page.locator("#profile-reload")).to_have_attribute("aria-busy", "false")
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 800})
            expect_readable(page)
            assert measured(page, "outsidePicture") == []
    page.locator("#select-all").check()
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        assert measured(page, "outside") == []
    page.get_by_role("button", name={"en-US": "Delete selected", "zh-CN": "删除所选"}[locale]).click()
    expect_readable(page)
    page.keyboard.press("Escape")
    page.get_by_test_id("new-item").click()
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        expect_readable(page)


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_letters_of_twice_the_size(visit: Visit, unique: Callable[[str], str], locale: str) -> None:
    # Half the width, so that both have the same layout.
    page = reader(visit, unique("large"), locale=locale, viewport={"width": 640, "height": 800})
    # Times take more room than "now".
    page.clock.set_fixed_time(datetime.now(UTC) + timedelta(minutes=59))
    open_list(page)
    sizes = """() => Object.fromEntries(
      ['h1', 'h2', '.name', '.pill', '#new-item', '#search', '#traffic-state', '#calls'].map((name) =>
        [name, Number.parseFloat(getComputedStyle(document.querySelector(name)).fontSize)]))"""
    usual = page.evaluate(sizes)
    page.set_viewport_size({"width": 1280, "height": 800})
    enlarge(page)
    page.reload()
    expect_settled(page)
    assert page.evaluate(sizes) == {name: 2 * size for name, size in usual.items()}
    for width in (1440, 1280, 1024, 640, 360):
        page.set_viewport_size({"width": width, "height": 800})
        expect_readable(page)
    assert page.get_by_test_id("calls").evaluate("node => node.scrollWidth <= node.clientWidth")
    assert page.locator(".log-path").first.evaluate("node => node.offsetWidth") > 200
    # The letters of the picture cannot grow here: its text takes its place.
    expect(page.locator("#picture")).to_be_hidden()
    text = page.locator("#mesh-text li").first.bounding_box()
    assert text is not None
    assert text["height"] >= 40
    page.set_viewport_size({"width": 1280, "height": 800})
    page.get_by_test_id("new-item").click()
    expect_readable(page)
    submit = dialog(page).locator("[type=submit]")
    submit.scroll_into_view_if_needed()
    expect(submit).to_be_in_viewport(ratio=1)


def look(page: Page, part: Locator) -> bytes:
    """Return how it looks without pointer and focus."""
    page.mouse.move(0, 0)
    page.evaluate("document.activeElement.blur()")
    return part.screenshot()


def test_forced_colours_leave_each_state_to_be_seen(visit: Visit, unique: Callable[[str], str]) -> None:
    page = reader(visit, unique("contrast"), forced_colors="active", color_scheme="dark")
    add_items(page, *(f"More {number}" for number in range(6)))
    open_list(page, "/?size=10")

    def expect_change(part: Locator, change: Callable[[], object]) -> None:
        before = look(page, part)
        assert look(page, part) == before, "it does not stand still"
        change()
        expect_settled(page)
        assert look(page, part) != before, part

    langs, themes = page.get_by_test_id("lang-switch"), page.get_by_test_id("theme-switch")
    expect_change(langs.locator("label").first, langs.get_by_label("中文").check)
    langs.get_by_label("English").check()
    expect_change(themes.locator("label").nth(1), themes.get_by_label("Light").check)
    expect_change(page.locator("#status-filter label").nth(2), chip(page, "Done").check)
    chip(page, "Done").uncheck()
    expect_settled(page)
    expect_change(row(page, "More 5").locator(".cell-name"), page.get_by_label("Select “More 5”").check)
    page.get_by_role("button", name="Clear selection").click()
    expect_change(page.locator("[data-go='2']").first, page.get_by_role("button", name="Page 2", exact=True).click)
    page.get_by_role("button", name="Page 1", exact=True).click()

    action(page, "Edit", "More 5").click()
    expect_change(dialog(page).locator("#item-status label").first, dialog(page).get_by_label("Done").check)
    dialog(page).get_by_role("button", name="Cancel").click()

    switch, rate = page.get_by_test_id("traffic-toggle"), page.get_by_test_id("traffic-rate")
    expect_change(rate, lambda: rate.fill("15"))
    # The same place of the track, before and behind the thumb.
    track = rate.bounding_box()
    assert track is not None
    middle = {"x": track["x"] + track["width"] / 2, "y": track["y"], "width": 20, "height": track["height"]}
    filled = page.screenshot(clip=middle)
    rate.fill("2")
    look(page, rate)
    assert page.screenshot(clip=middle) != filled
    rate.fill("1")
    expect_change(switch, switch.click)
    switch.click()

    for version in ("v1", "v2"):
        while page.get_by_test_id(f"split-{version}").get_attribute("data-count") == "0":
            page.locator("#profile-reload").click()
            expect(page.locator("#profile-reload")).to_have_attribute("aria-busy", "false")
    shown = []
    for version in ("v1", "v2"):
        box = page.get_by_test_id(f"split-{version}").bounding_box()
        assert box is not None
        shown.append(page.screenshot(clip={"x": box["x"] + 12, "y": box["y"], "width": 20, "height": box["height"]}))
    assert shown[0] != shown[1]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_forced_colours_paint_the_picture_too(visit: Visit, scheme: str) -> None:
    page = open_list(visit(forced_colors="active", color_scheme=scheme))
    ground, ink = page.evaluate("[getComputedStyle(document.body)].flatMap((s) => [s.backgroundColor, s.color])")
    for node in page.locator("#picture .node").all():
        expect(node).to_have_css("fill", ground)
    for text in page.locator("#picture text").all():
        expect(text).to_have_css("fill", ink)


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_on_a_phone_the_first_item_comes_soon(visit: Visit, unique: Callable[[str], str], locale: str) -> None:
    page = reader(visit, unique("phone"), locale=locale, viewport={"width": 360, "height": 740}, has_touch=True)
    for visitor in (page, visit(locale=locale, viewport={"width": 360, "height": 740}, has_touch=True)):
        open_list(visitor)
        first = visitor.get_by_test_id("item-row").first.bounding_box()
        assert first is not None
        assert first["y"] < 350, visitor.locator("#corner").inner_text()
    # What folds away says that it is in use, and is unfolded then.
    refine = page.locator("#refine")
    expect(page.locator("#status-filter")).to_be_hidden()
    refine.tap()
    expect(refine).to_have_attribute("aria-expanded", "true")
    page.locator("#status-filter label").nth(2).tap()
    expect(page.get_by_test_id("item-row")).to_have_count(1)
    expect(refine).to_have_accessible_name(
        {"en-US": "Filter and sort (in use)", "zh-CN": "筛选和排序（使用中）"}[locale]
    )
    page.reload()
    expect(page.locator("#status-filter")).to_be_visible()


def test_beside_a_long_list_the_panel_stays(member: Page) -> None:
    add_items(member, *(f"Item {number}" for number in range(40)))
    open_list(member, "/?size=50")
    for height in (1000, 800, 500):
        member.set_viewport_size({"width": 1280, "height": height})
        member.get_by_test_id("item-row").last.scroll_into_view_if_needed()
        expect(member.get_by_role("heading", name="Request path")).to_be_in_viewport(ratio=1)
        panel = member.get_by_test_id("mesh").bounding_box()
        assert panel is not None
        assert panel["y"] >= 0
        assert panel["y"] + panel["height"] <= height
        calls = member.get_by_test_id("calls")
        calls.scroll_into_view_if_needed()
        expect(calls).to_be_in_viewport()
        member.evaluate("scrollTo(0, 0); document.getElementById('mesh').scrollTo(0, 0)")


def test_below_a_long_list_the_panel_is_one_step_away(member: Page) -> None:
    add_items(member, *(f"Item {number}" for number in range(12)))
    panel, items = member.locator("#mesh-heading"), member.locator("#items-heading")
    there = member.get_by_role("link", name="Request path")
    for width, height in ((1000, 800), (360, 740), (320, 500), (320, 256)):
        member.set_viewport_size({"width": width, "height": height})
        open_list(member)
        reads = requests_of(member)
        if height > 320:
            expect(there).to_be_in_viewport(ratio=1)
            expect(there).to_contain_text("%")
        there.click()
        expect(panel).to_be_focused()
        expect(panel).to_be_in_viewport(ratio=1)
        assert there.bounding_box()["y"] < 0, "it covers the panel"
        member.get_by_role("link", name="Todo items").click()
        expect(items).to_be_focused()
        expect(items).to_be_in_viewport(ratio=1)
        # Neither loads anything.
        assert not reads


@pytest.mark.parametrize("width", [1280, 1000, 360])
def test_what_has_the_focus_is_covered_by_nothing(member: Page, width: int) -> None:
    """WCAG 2.2, 2.4.11"""
    member.set_viewport_size({"width": width, "height": 740})
    add_items(member, *(f"Item {number}" for number in range(12)))
    open_list(member)
    is_covered = """() => {
      const { left, right, top, bottom } = document.activeElement.getBoundingClientRect();
      const above = document.elementFromPoint((left + right) / 2, bottom - 4);
      return !document.activeElement.closest('label, button, a')?.contains(above) && document.activeElement.outerHTML;
    }"""
    for select in (False, True):
        if select:
            member.get_by_label("Select “Item 11”").check()
        member.get_by_label("Select “Item 11”").focus()
        for _ in range(60):
            member.keyboard.press("Tab")
            assert not member.evaluate(is_covered)


@pytest.mark.parametrize(
    ("width", "name"), [(1280, LONG), (360, LONG), (360, CHINESE[:200].replace(" ", "")), (360, "x" * 200)]
)
def test_a_long_name_is_short_in_lists_and_messages_and_whole_when_wanted(member: Page, width: int, name: str) -> None:
    member.set_viewport_size({"width": width, "height": 800})
    add_items(member, name)
    open_list(member)
    lines = "node => node.clientHeight / Number.parseFloat(getComputedStyle(node).lineHeight)"
    text = member.locator(".name span")
    assert text.evaluate(lines) < 2.5
    member.locator("[data-action=complete]").click()
    assert member.locator("#toast-status span").evaluate(lines) < 4.5
    # The list is drawn anew after the change.
    expect(member.locator(".status-row-2")).to_be_visible()
    expect_settled(member)
    member.locator("[data-action=delete]").click()
    assert dialog(member).locator("bdi").evaluate(lines) < 2.5
    member.keyboard.press("Escape")
    # The focus goes back to the button that opened the dialog.
    expect(member.locator("[data-action=delete]")).to_be_focused()
    button = member.locator(".name")
    expect(button).to_have_attribute("title", name)
    expect(button).to_have_accessible_name(name)
    member.get_by_label("Select “").press("Tab")
    expect(button).to_be_focused()
    assert text.evaluate("node => node.scrollHeight <= node.clientHeight")
    button.click()
    field = member.get_by_label("Name", exact=True)
    expect(field).to_have_value(name)
    assert field.evaluate("node => node.scrollHeight <= node.clientHeight && node.scrollWidth <= node.clientWidth")


def test_accessible_names_are_words(guest: Page) -> None:
    open_list(guest)
    radios = guest.get_by_test_id("lang-switch").get_by_role("radio")
    for radio, name in zip(radios.all(), ("中文", "English"), strict=True):
        expect(radio).to_have_accessible_name(name)
    # Their roles are read out by the browser itself.
    session = guest.context.new_cdp_session(guest)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    names = {
        node["name"]["value"] for node in nodes if node.get("role", {}).get("value") == "radio" and not node["ignored"]
    }
    assert names == {"中文", "English", "Same as system", "Light", "Dark"}


def covered(page: Page, *, rows: bool = False) -> list[str]:
    """Return the controls under messages, once they had time to give way."""
    expect(page.get_by_test_id("toast")).to_be_visible()
    with suppress(SlowError):
        page.wait_for_function(f"(rows) => !{MEASURE}.covered(rows).length", arg=rows, timeout=3_000)
    return page.evaluate(f"(rows) => {MEASURE}.covered(rows)", rows)


@pytest.mark.parametrize(("width", "motion"), [(1280, "no-preference"), (900, "reduce"), (360, "no-preference")])
def test_messages_cover_nothing_that_is_wanted_next(
    member: Page, width: int, motion: Literal["no-preference", "reduce"]
) -> None:
    member.emulate_media(reduced_motion=motion)
    member.add_init_script(LASTING)
    member.set_viewport_size({"width": width, "height": 740})
    add_items(member, *(f"Item {number}" for number in range(12)), {"name": "Finished", "status": 2})
    open_list(member)
    member.get_by_label("Select “Item 9”").check()
    member.get_by_label("Select “Item 8”").check()
    action(member, "Complete", "Item 10").click()
    expect(member.get_by_role("button", name="Clear selection")).to_be_in_viewport(ratio=1)
    assert covered(member) == []
    if width == 1280:
        assert covered(member, rows=True) == []
    # A message goes when it is clicked.
    member.get_by_test_id("toast").click()
    expect(member.get_by_test_id("toast")).to_have_count(0)

    # It gives way to what comes after it.
    open_list(member, "/?q=nothing")
    member.get_by_role("button", name="Show all items").click()
    member.evaluate("scrollTo(0, 0)")
    member.get_by_test_id("new-item").click()
    member.get_by_label("Name", exact=True).fill("New")
    member.keyboard.press("Enter")
    expect(row(member, "New")).to_be_visible()
    if width == 1280:
        assert covered(member, rows=True) == []
    assert covered(member) == []

    open_list(member, "/?q=finished&status=2")
    action(member, "Reopen", "Finished").click()
    expect(member.get_by_role("button", name="Show all items")).to_be_visible()
    # Lower windows of a phone hold nothing but controls.
    for height in range(620 if width == 360 else 400, 760, 30):
        member.set_viewport_size({"width": width, "height": height})
        assert covered(member) == [], height
