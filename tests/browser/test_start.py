"""The page before its scripts run, with a missing script, and without scripts."""

import re
from functools import partial
from urllib.parse import urljoin

import pytest
from playwright.sync_api import Locator, Route, expect

from tests.browser.conftest import Faults, Visit
from tests.browser.screen import Screen

IMPORT = re.compile(r"^import (?:.* from )?'([^']+)';$", re.MULTILINE)
# What has its size and place before any script runs, and what grows with what it holds.
FRAME = (".top", "#new-item", "#search", "#status-filter", "#picture", "#split-bar", "#traffic-toggle", "#traffic-rate")
GROWING = ("#list-body", "#mesh", "#calls")


def boxes(page: Screen) -> dict[str, dict[str, float]]:
    """Return the place of each part, and its size."""
    found = {part: page.locator(part).bounding_box() for part in (*FRAME, *GROWING)}
    return found | {part: {**found[part], "height": 0} for part in GROWING}


def imported(page: Screen, script: str, found: set[str]) -> set[str]:
    """Add the addresses of all modules that a script needs, in any number of steps."""
    for name in IMPORT.findall(page.request.get(script).text()):
        if (module := urljoin(script, name)) not in found:
            found.add(module)
            imported(page, module, found)
    return found


def linked(page: Screen, rel: str) -> list[str]:
    """Return the addresses that the markup links with this relation."""
    return re.findall(rf'<link rel="{rel}" href="([^"]+)"', page.request.get("/").text())


def trouble(page: Screen) -> Locator:
    """The message that a part of the page is missing."""
    return page.get_by_role("alert").filter(has=page.locator("a[href='']"))


fail = partial(Route.fulfill, status=404, content_type="application/problem+json", body="{}")


def end_patience(page: Screen) -> None:
    """End the time that the page gives itself to start: it is the delay of an animation."""
    page.evaluate("document.getAnimations().filter((a) => a.animationName === 'conceal').forEach((a) => a.finish())")


def test_a_page_that_is_slow_says_so_and_nothing_moves_when_it_starts(guest: Screen) -> None:
    assert sorted(linked(guest, "modulepreload")) == sorted(imported(guest, "/app.js", set()))
    held = guest.hold(lambda _: True, "**/app.js")
    guest.goto("/", wait_until="commit")
    expect(guest.locator("#calls")).to_have_css("list-style-type", "none")
    before = boxes(guest)
    # An image without a size of its own is 300 x 150 px until a style or a script says otherwise.
    sizeless = guest.locator("svg:not([width][height]), img:not([width][height])")
    expect(sizeless).to_have_count(0)
    expect(trouble(guest)).to_be_hidden()
    end_patience(guest)
    expect(trouble(guest).get_by_role("link")).to_have_text(["Reload"])

    held[0].continue_()
    guest.expect_settled()
    expect(trouble(guest)).to_be_hidden()
    expect(guest.login).to_be_visible()
    for part, box in boxes(guest).items():
        assert box == pytest.approx(before[part], abs=2), part
    expect(sizeless).to_have_count(0)
    lost = "nodes => nodes.map((node) => node.getAttribute('href')).filter((id) => !document.querySelector(id))"
    assert guest.locator("svg use").evaluate_all(lost) == []


def test_each_part_that_is_missing_is_said_with_a_way_out(guest: Screen, faults: Faults) -> None:
    faults.expect(404)
    # The first, one that only others need, and a language.
    scripts = ("/app.js", "/modules/timing.js", "/locales/en.js")
    styles = [path for path in linked(guest, "stylesheet") if "forced" not in path]
    assert len(styles) == 3
    for part in (*scripts, *styles):
        guest.route(f"**{part}", fail)
        guest.goto("/")
        expect(trouble(guest), part).to_contain_text("A part of this page has not loaded, so it may not work.")
        if part in scripts:
            # Nothing that looks like a button does nothing.
            expect(guest.get_by_role("button")).to_have_count(0)
        guest.unroute(f"**{part}", fail)
    trouble(guest).get_by_role("link", name="Reload").first.click()
    guest.expect_settled()
    expect(trouble(guest)).to_be_hidden()
    # Without the script that watches the others.
    for part in ("/early.js", "/app.js"):
        guest.route(f"**{part}", fail)
        guest.goto("/")
        expect(trouble(guest)).to_be_hidden()
        end_patience(guest)
        # It is not known which language is wanted.
        expect(trouble(guest).get_by_role("link")).to_have_text(["Reload", "重新加载"])


def test_a_script_that_breaks_is_said_in_chinese_too(visit: Visit, faults: Faults) -> None:
    page = visit(locale="zh-CN")
    for script in ("export const drawPager = (;", "throw new Error('on purpose');"):
        page.unroute_all()
        page.route("**/modules/pager.js", partial(Route.fulfill, content_type="text/javascript", body=script))
        page.goto("/")
        expect(trouble(page)).to_contain_text("页面的一部分没有加载出来，可能无法正常使用。")
        expect(trouble(page).get_by_role("link", name="重新加载")).to_be_visible()
        expect(trouble(page).get_by_role("link", name="Reload")).to_be_hidden()
        assert any("uncaught" in fault for fault in faults.found)
        faults.found.clear()


def test_without_scripts_the_page_says_what_it_needs(visit: Visit) -> None:
    page = visit(java_script_enabled=False)
    page.goto("/")
    needs = page.locator("noscript p")
    english, chinese = (
        "todolist needs JavaScript, which is off in this browser.",
        "todolist 需要 JavaScript，而此浏览器已将其停用。",
    )
    expect(needs).to_have_text([english, chinese], use_inner_text=True)
    for text in needs.all():
        expect(text).to_be_visible()
    expect(page.get_by_text("has not loaded")).to_be_hidden()
    expect(page.get_by_role("link", name="Reload")).to_be_visible()
    expect(page.locator("main")).to_be_hidden()
