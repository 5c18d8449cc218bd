"""Script injection through input, URLs and responses: it is shown as text, and never runs."""

from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Faults, System, Visit
from tests.browser.screen import (
    action,
    add_items,
    answering,
    dialog,
    expect_settled,
    names,
    open_list,
    row,
    sign_up,
    submit,
)

# It leaves an attribute and an element, and runs as an event handler, as a script, and as an address.
SCRIPT = "\"'><img src=x onerror=run()><svg onload=run()></textarea><script>run()</script>javascript:run()"
# As long as a name of an account can be.
SHORT = "\"'><img src=x onerror=run()><script>run()</script>"
MADE_ELEMENTS = "img[src=x], svg[onload], script:not([src]), [href^='javascript:'], [onerror]"


@pytest.fixture
def page(visit: Visit) -> Iterator[Page]:
    """A page on which script that runs is seen; what the policy refuses is seen by `visit`."""
    ran: list[str] = []
    page = visit()
    page.expose_function("run", lambda: ran.append("it ran"))
    page.on("dialog", lambda alert: (ran.append(alert.message), alert.dismiss()))
    yield page
    expect(page.locator(MADE_ELEMENTS)).to_have_count(0)
    assert not ran


def test_in_what_users_enter(page: Page, visit: Visit, unique: Callable[[str], str]) -> None:
    name = f"{unique('')}{SHORT}"[:50]
    sign_up(page, name)
    add_items(page, {"name": SCRIPT, "desc": SCRIPT})
    open_list(page)
    expect(page.get_by_test_id("profile-name")).to_have_text(name)
    expect(row(page, SCRIPT).locator(".desc")).to_have_text(SCRIPT)
    action(page, "Pause", SCRIPT).click()
    # Messages are short.
    expect(page.locator("#toast-status")).to_have_text(f"Paused “{SCRIPT[:39]}…”")
    action(page, "Delete", SCRIPT).click()
    expect(dialog(page).get_by_role("listitem")).to_have_text([SCRIPT])
    dialog(page).get_by_role("button", name="Cancel").click()

    page.get_by_test_id("logout").click()
    page.get_by_test_id("login").click()
    submit(page, "Log in", "admin", "adminadmin")
    page.get_by_test_id("users").click()
    expect(dialog(page).get_by_test_id("users-list")).to_contain_text(name)


def test_in_the_address(page: Page, system: System) -> None:
    search = page.get_by_test_id("search")
    for address in (
        f"/?q={quote(SCRIPT)}",
        "/?" + "&".join(f"{name}={quote(SCRIPT)}" for name in ("status", "sort", "page", "size", "key", "lang")),
        f"/{quote(SCRIPT, safe='')}#{quote(SCRIPT)}",
        "/?q=__proto__&status=__proto__&sort=constructor&page=1e9&size=-1",
        "//evil.example/",
    ):
        page.goto(system.url + address)
        expect_settled(page)
        if "?q=%22" in address:
            expect(search).to_have_value(SCRIPT)
            expect(page.get_by_test_id("empty")).to_be_visible()
        expect(page.locator(MADE_ELEMENTS)).to_have_count(0)
        # What is written into the address stays on this site.
        search.fill(SCRIPT)
        search.press("Enter")
        expect(page.get_by_test_id("empty")).to_be_visible()
        assert page.evaluate("[location.origin, new URL(location).searchParams.get('q')]") == [system.url, SCRIPT]


PROBLEM = {
    "type": SCRIPT,
    "title": SCRIPT,
    "status": 418,
    "detail": SCRIPT,
    "traceId": SCRIPT,
    "errors": [{"field": field, "message": SCRIPT} for field in ("name", "desc", "userName", "password", SCRIPT)],
}


def test_in_an_error(page: Page, faults: Faults, unique: Callable[[str], str]) -> None:
    faults.expect(418, 422)
    sign_up(page, unique("careful"))
    page.route("**/api/rule?*", answering(PROBLEM, 418, retry_after=SCRIPT))
    page.route("**/api/currentUser", answering(PROBLEM, 418))
    open_list(page)
    expect(page.get_by_test_id("list-error")).to_contain_text(SCRIPT)

    page.unroute("**/api/rule?*")
    page.route("**/api/rule", answering(PROBLEM, 422))
    page.get_by_test_id("new-item").click()
    page.get_by_label("Name", exact=True).fill("x")
    page.get_by_role("button", name="Create", exact=True).click()
    expect(page.get_by_label("Name", exact=True)).to_have_attribute("aria-invalid", "true")


def test_in_what_services_answer(page: Page) -> None:
    headers = {
        "x_served_by": f"rule/{SCRIPT}@{SCRIPT}".replace(" ", "/"),
        "server_timing": f'rule;dur=1;desc="{SCRIPT}"',
    }
    now = "2026-01-01T00:00:00Z"
    item = dict.fromkeys(("key", "name", "desc", "owner", "href", "avatar"), SCRIPT)
    item |= {"status": 1, "callNo": 0, "progress": 0, "disabled": False, "createdAt": now, "updatedAt": now}
    shown = {"data": [item], "total": 1, "totalIsExact": True, "success": True, "pageSize": 20, "current": 1}
    profile = dict.fromkeys(("name", "avatar", "userid", "email", "signature", "version", "access"), SCRIPT)
    page.route("**/api/rule?*", answering(shown, **headers))
    page.route("**/api/currentUser", answering(profile, **headers))
    open_list(page)
    expect(names(page)).to_have_text([SCRIPT])
    expect(page.get_by_test_id("profile-name")).to_have_text(SCRIPT)
    expect(page.get_by_test_id("calls")).to_contain_text("onerror")
