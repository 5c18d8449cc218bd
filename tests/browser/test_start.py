"""The page before its scripts run, with a missing script, and without scripts."""

import re
from functools import partial
from urllib.parse import urljoin

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.conftest import Faults, Visit
from tests.browser.screen import expect_settled, hold

IMPORT = re.compile(r"^import (?:.* from )?'([^']+)';$", re.MULTILINE)
# What has its size and place before any script runs.
FRAME = (
    ".top, #new-item, #search, #status-filter, #list-body, #mesh, #picture, #split-bar, #traffic-toggle, "
    "#traffic-rate, #calls"
)
BOXES = """nodes => nodes.map((node) => {
  const { x, y, width, height } = node.getBoundingClientRect();
  // These grow with what they hold.
  return [node.id, x, y, width, ['list-body', 'mesh', 'calls'].includes(node.id) ? 0 : height];
})"""


def imported(page: Page, script: str) -> set[str]:
    """Return the addresses of all modules that a script needs, in any number of steps."""
    found: set[str] = set()
    waiting = [script]
    while waiting:
        path = waiting.pop()
        for name in IMPORT.findall(page.request.get(path).text()):
            target = urljoin(path, name)
            if target not in found:
                found.add(target)
                waiting.append(target)
    return found


def linked(page: Page, rel: str) -> list[str]:
    """Return the addresses that the markup links with this relation."""
    return re.findall(rf'<link rel="{rel}" href="([^"]+)"', page.request.get("/").text())


def trouble(page: Page) -> Locator:
    """The message that a part of the page is missing."""
    return page.get_by_role("alert").filter(has=page.locator("a[href='']"))


fail = partial(Route.fulfill, status=404, content_type="application/problem+json", body="{}")


def end_patience(page: Page) -> None:
    """End the time that the page gives itself to start: it is the delay of an animation."""
    page.evaluate("document.getAnimations().filter((a) => a.animationName === 'conceal').forEach((a) => a.finish())")


def test_a_page_that_is_slow_says_so_and_nothing_moves_when_it_starts(guest: Page) -> None:
    assert sorted(linked(guest, "modulepreload")) == sorted(imported(guest, "/app.js"))
    held = hold(guest, lambda _: True, "**/app.js")
    guest.goto("/", wait_until="commit")
    expect(guest.locator("#calls")).to_have_css("list-style-type", "none")
    before = guest.locator(FRAME).evaluate_all(BOXES)
    # An image without a size of its own is 300 x 150 px until a style or a script says otherwise.
    sizeless = "nodes => nodes.filter((node) => !node.hasAttribute('width') || !node.hasAttribute('height')).length"
    assert guest.locator("svg, img").evaluate_all(sizeless) == 0
    expect(trouble(guest)).to_be_hidden()
    end_patience(guest)
    expect(trouble(guest).get_by_role("link")).to_have_text(["Reload"])

    held[0].continue_()
    expect_settled(guest)
    expect(trouble(guest)).to_be_hidden()
    expect(guest.get_by_test_id("login")).to_be_visible()
    after = guest.locator(FRAME).evaluate_all(BOXES)
    assert [name for name, *_ in after] == [name for name, *_ in before]
    for (name, *box), (_, *new_box) in zip(before, after, strict=True):
        assert new_box == pytest.approx(box, abs=2), name
    assert guest.locator("svg, img").evaluate_all(sizeless) == 0
    lost = "nodes => nodes.map((node) => node.getAttribute('href')).filter((id) => !document.querySelector(id))"
    assert guest.locator("svg use").evaluate_all(lost) == []


def test_each_part_that_is_missing_is_said_with_a_way_out(guest: Page, faults: Faults) -> None:
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
    expect_settled(guest)
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
    # Playwright reads no text of a noscript element.
    needs = page.locator("noscript p")
    assert needs.evaluate_all("nodes => nodes.map((node) => node.innerText)") == [
        "todolist needs JavaScript, which is off in this browser.",
        "todolist 需要 JavaScript，而此浏览器已将其停用。",
    ]
    for text in needs.all():
        expect(text).to_be_visible()
    expect(page.get_by_text("has not loaded")).to_be_hidden()
    expect(page.get_by_role("link", name="Reload")).to_be_visible()
    expect(page.locator("main")).to_be_hidden()
