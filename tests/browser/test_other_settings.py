"""Accessibility settings: forced colours, text spacing, larger fonts, a small screen."""

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Locator, expect
from playwright.sync_api import TimeoutError as SlowError

from tests.browser.conftest import Visit
from tests.browser.screen import IS_WIDER, Screen

PHRASE = "A name of two hundred characters is possible, and rows must bear it. "
LONG = (PHRASE * 3)[:200]
CHINESE = "名称最多可以有二百个字符，列表里的每一行都要放得下。" * 5
UNBROKEN = "Supercalifragilisticexpialidocious" * 5
MIXED = [{"name": LONG, "desc": LONG}, *({"name": f"Item {n}", "desc": "words", "status": n} for n in range(4))]
MIXED += [{"name": CHINESE, "status": 3}, {"name": UNBROKEN, "desc": UNBROKEN}]
# One of each layout.
WIDTHS = (1280, 1121, 1024, 900, 700, 480, 360, 320)
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


def measured(page: Screen, *ways: str) -> list[str]:
    """Return what these functions in measure.js find."""
    found = "ways.flatMap((way) => measure[way]().map((text) => `${way}: ${text}`))"
    return page.evaluate(f"(ways) => {{ const measure = {MEASURE}; return {found}; }}", ways)


def expect_readable(page: Screen, *also: str) -> None:
    assert not page.evaluate(IS_WIDER), page.viewport_size
    assert measured(page, "collisions", "outside", "cutOff", *also) == [], page.viewport_size


def set_width(page: Screen, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})


def reader(visit: Visit, **options: object) -> Screen:
    """A page of a user with items of all kinds."""
    page = visit(**options)
    page.sign_up("a-name-that-is-rather-long-for-a-corner")
    page.add_items(*MIXED)
    return page


def test_more_space_in_texts_costs_none_of_them(visit: Visit) -> None:
    page = reader(visit, bypass_csp=True)
    page.open()
    for style in ("/* as it is */", SPACED):
        page.add_style_tag(content=style)
        for language in ("English", "中文"):
            # The picture is drawn anew.
            page.set_language(language)
            for width in WIDTHS:
                set_width(page, width)
                expect_readable(page, "outsidePicture")
    page.locator("#select-all").check()
    for language, delete in (("English", "Delete selected"), ("中文", "删除所选")):
        page.set_language(language)
        for width in WIDTHS:
            set_width(page, width)
            assert measured(page, "outside") == []
        for opener in (page.get_by_role("button", name=delete), page.new_item):
            opener.click()
            for width in (1280, 320):
                set_width(page, width)
                expect_readable(page)
            page.keyboard.press("Escape")


def test_letters_of_twice_the_size(visit: Visit) -> None:
    # Half the width, so that both have the same layout.
    page = reader(visit, viewport={"width": 640, "height": 800})
    # Times take more room than "now".
    page.clock.set_fixed_time(datetime.now(UTC) + timedelta(minutes=59))
    page.open()
    texts = page.locator("h1, h2, .name, .pill, #new-item, #search, #traffic-state, #calls")
    sizes = "nodes => nodes.map((node) => Number.parseFloat(getComputedStyle(node).fontSize))"
    usual = texts.evaluate_all(sizes)
    set_width(page, 1280)
    settings = page.context.new_cdp_session(page.page)
    settings.send("Page.enable")
    settings.send("Page.setFontSizes", {"fontSizes": {"standard": 32, "fixed": 26}})
    page.reload()
    page.expect_settled()
    assert texts.evaluate_all(sizes) == [2 * size for size in usual]
    for language in ("English", "中文"):
        page.set_language(language)
        for width in (1440, 1024, 640, 360):
            set_width(page, width)
            expect_readable(page)
        assert page.locator("#calls").evaluate("node => node.scrollWidth <= node.clientWidth")
        assert page.locator(".log-path").first.evaluate("node => node.offsetWidth") > 200
        # The letters of the picture cannot grow here: its text takes its place.
        expect(page.locator("#picture")).to_be_hidden()
        assert page.locator("#mesh-text li").first.bounding_box()["height"] >= 40
        set_width(page, 1280)
        page.new_item.click()
        expect_readable(page)
        submit = page.dialog.locator("[type=submit]")
        submit.scroll_into_view_if_needed()
        expect(submit).to_be_in_viewport(ratio=1)
        page.keyboard.press("Escape")


def test_forced_colours_leave_each_state_to_be_seen(visit: Visit) -> None:
    page = reader(visit, forced_colors="active", color_scheme="dark")
    page.open()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for parts, colour in (("#picture .node", "backgroundColor"), ("#picture text", "color")):
            wanted = page.evaluate(f"getComputedStyle(document.body).{colour}")
            for part in page.locator(parts).all():
                expect(part).to_have_css("fill", wanted)

    def look(part: Locator, start: float = 0.0) -> bytes:
        """Return how 20 px of it look without pointer and focus, from this fraction of its width on."""
        page.mouse.move(0, 0)
        page.evaluate("document.activeElement.blur()")
        part.scroll_into_view_if_needed()
        box = part.bounding_box()
        place = {"x": box["x"] + 12 + start * (box["width"] - 24), "y": box["y"], "width": 20, "height": box["height"]}
        return page.screenshot(clip=place)

    langs = page.get_by_test_id("lang-switch")
    for part, change in (
        (langs.locator("label").first, langs.get_by_label("中文").check),
        (langs.locator("label").first, langs.get_by_label("English").check),
        (page.locator("#status-filter label").nth(2), page.chip("Done").check),
        (page.row("Item 2").locator(".cell-name"), page.checkbox("Item 2").check),
        (page.traffic, page.traffic.click),
    ):
        before = look(part)
        assert look(part) == before, "it does not stand still"
        change()
        page.expect_settled()
        assert look(part) != before, part
    # The same place of the track, before and behind the thumb.
    looks = []
    for value in ("2", "15"):
        page.rate.fill(value)
        looks.append(look(page.rate, 0.5))
    splits = [page.get_by_test_id(f"split-{version}") for version in ("v1", "v2")]
    for split in splits:
        expect(split).to_have_attribute("data-count", re.compile("^[3-9]|.."))
    page.traffic.click()
    looks += map(look, splits)
    assert len({*looks}) == 4


def test_the_panel_is_in_reach_of_a_long_list(member: Screen) -> None:
    member.open_with(*(f"Item {number}" for number in range(25)), path="/?size=50")
    # Beside it.
    for height in (1000, 500):
        member.set_viewport_size({"width": 1280, "height": height})
        member.rows.last.scroll_into_view_if_needed()
        expect(member.get_by_role("heading", name="Request path")).to_be_in_viewport(ratio=1)
        box = member.locator("#mesh").bounding_box()
        assert 0 <= box["y"] <= height - box["height"]
        member.locator("#calls").scroll_into_view_if_needed()
        expect(member.locator("#calls")).to_be_in_viewport()
        member.evaluate("scrollTo(0, 0); document.getElementById('mesh').scrollTo(0, 0)")
    # Below it.
    panel, items = member.locator("#mesh-heading"), member.locator("#items-heading")
    there, reads = member.get_by_role("link", name="Request path"), member.requests_of()
    for width, height in ((1000, 800), (360, 740), (320, 256)):
        member.set_viewport_size({"width": width, "height": height})
        member.evaluate("scrollTo(0, 0)")
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
    # The links load nothing.
    assert not reads


def test_what_has_the_focus_is_covered_by_nothing(member: Screen) -> None:
    """WCAG 2.2, 2.4.11"""
    member.open_with(*(f"Item {number}" for number in range(12)))
    is_covered = """() => {
      const { left, right, top, bottom } = document.activeElement.getBoundingClientRect();
      const above = document.elementFromPoint((left + right) / 2, bottom - 4);
      return !document.activeElement.closest('label, button, a')?.contains(above) && document.activeElement.outerHTML;
    }"""
    # The bar of the selection is there, too.
    first = member.checkbox("Item 11")
    first.check()
    for width in (1000, 360):
        member.set_viewport_size({"width": width, "height": 740})
        first.focus()
        for _ in range(60):
            member.keyboard.press("Tab")
            assert not member.evaluate(is_covered), width


def test_a_long_name_is_short_in_lists_and_messages_and_whole_when_wanted(member: Screen) -> None:
    lines = "node => node.clientHeight / Number.parseFloat(getComputedStyle(node).lineHeight)"
    text, button = member.locator(".name span"), member.locator(".name")
    for width, name in ((1280, LONG), (360, CHINESE[:200]), (360, "x" * 200)):
        set_width(member, width)
        member.open_with(name, path=f"/?q={quote(name[:9])}")
        assert text.evaluate(lines) < 2.5
        member.locator("[data-action=complete]").click()
        assert member.locator("#toast-status span").evaluate(lines) < 4.5
        # The list is drawn anew after the change.
        expect(member.locator(".status-row-2")).to_be_visible()
        member.expect_settled()
        member.locator("[data-action=delete]").click()
        assert member.dialog.locator("bdi").evaluate(lines) < 2.5
        member.keyboard.press("Escape")
        # The focus goes back to the button that opened the dialog.
        expect(member.locator("[data-action=delete]")).to_be_focused()
        expect(button).to_have_attribute("title", name)
        expect(button).to_have_accessible_name(name)
        member.get_by_label("Select “").press("Tab")
        expect(button).to_be_focused()
        assert text.evaluate("node => node.scrollHeight <= node.clientHeight")
        button.click()
        expect(member.name).to_have_value(name)
        assert member.name.evaluate(
            "node => node.scrollHeight <= node.clientHeight && node.scrollWidth <= node.clientWidth"
        )


def covered(page: Screen, *, rows: bool = False) -> list[str]:
    """Return the controls under messages, once they had time to give way."""
    expect(page.get_by_test_id("toast")).to_be_visible()
    with suppress(SlowError):
        page.wait_for_function(f"(rows) => !{MEASURE}.covered(rows).length", arg=rows, timeout=3_000)
    return page.evaluate(f"(rows) => {MEASURE}.covered(rows)", rows)


@pytest.mark.parametrize(("width", "motion"), [(1280, "no-preference"), (360, "reduce")])
def test_messages_cover_nothing_that_is_wanted_next(member: Screen, width: int, motion: str) -> None:
    member.emulate_media(reduced_motion=motion)
    member.add_init_script(LASTING)
    member.set_viewport_size({"width": width, "height": 740})
    member.open_with(*(f"Item {number}" for number in range(12)), {"name": "Finished", "status": 2})
    member.checkbox("Item 9").check()
    member.checkbox("Item 8").check()
    member.action("Complete", "Item 10").click()
    expect(member.get_by_role("button", name="Clear selection")).to_be_in_viewport(ratio=1)
    assert covered(member, rows=width == 1280) == []
    # A message goes when it is clicked.
    member.get_by_test_id("toast").click()
    expect(member.get_by_test_id("toast")).to_have_count(0)

    # It gives way to what comes after it.
    member.open("/?q=nothing")
    member.get_by_role("button", name="Show all items").click()
    member.evaluate("scrollTo(0, 0)")
    member.fill_in("New")
    member.name.press("Enter")
    expect(member.row("New")).to_be_visible()
    assert covered(member, rows=width == 1280) == []

    member.open("/?q=finished&status=2")
    member.action("Reopen", "Finished").click()
    expect(member.get_by_role("button", name="Show all items")).to_be_visible()
    # Lower windows of a phone hold nothing but controls.
    sizes = product([360], range(620, 760, 60)) if width == 360 else product([1280, 900], range(400, 760, 120))
    for wide, height in sizes:
        member.set_viewport_size({"width": wide, "height": height})
        assert covered(member) == [], (wide, height)
