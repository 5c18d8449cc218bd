"""Script injection through input, URLs and responses: it is shown as text, and never runs."""

from collections.abc import Iterator
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Faults, System, Visit
from tests.browser.screen import Screen, answering

# It leaves an attribute and an element, and runs as an event handler, as a script, and as an address.
SCRIPT = "\"'><img src=x onerror=run()><svg onload=run()></textarea><script>run()</script>javascript:run()"
MADE_ELEMENTS = "img[src=x], svg[onload], script:not([src]), [href^='javascript:'], [onerror]"


@pytest.fixture
def page(visit: Visit) -> Iterator[Screen]:
    """A page on which script that runs is seen; what the policy refuses is seen by `visit`."""
    ran: list[str] = []
    page = visit()
    page.expose_function("run", lambda: ran.append("it ran"))
    page.on("dialog", lambda alert: (ran.append(alert.message), alert.dismiss()))
    yield page
    expect(page.locator(MADE_ELEMENTS)).to_have_count(0)
    assert not ran


def test_in_what_users_enter(page: Screen) -> None:
    name = page.sign_up("\"'><img src=x onerror=run()>")
    page.open_with({"name": SCRIPT, "desc": SCRIPT})
    expect(page.profile_name).to_have_text(name)
    expect(page.row(SCRIPT).locator(".desc")).to_have_text(SCRIPT)
    # Wherever a name is shown, it is isolated: one with U+202E turns around no text beside it.
    expect(page.profile_name).to_have_css("unicode-bidi", "isolate")
    expect(page.row(SCRIPT).locator(".name bdi")).to_have_text(SCRIPT)
    page.action("Pause", SCRIPT).click()
    # Messages are short.
    expect(page.message).to_have_text(f"Paused “{SCRIPT[:39]}…”")
    expect(page.message.locator("bdi")).to_have_text(f"{SCRIPT[:39]}…")
    page.action("Delete", SCRIPT).click()
    expect(page.dialog.locator("li > bdi")).to_have_text(SCRIPT)
    page.choose("Cancel")

    page.logout.click()
    page.login.click()
    page.submit("Log in", "admin", "adminadmin")
    page.users.click()
    expect(page.dialog.get_by_test_id("users-list")).to_contain_text(name)


def test_in_the_address(page: Screen, system: System) -> None:
    for address in (
        f"/?q={quote(SCRIPT)}",
        "/?" + "&".join(f"{name}={quote(SCRIPT)}" for name in ("status", "sort", "page", "size", "key", "lang")),
        f"/{quote(SCRIPT, safe='')}#{quote(SCRIPT)}",
        "/?q=__proto__&status=__proto__&sort=constructor&page=1e9&size=-1",
        "//evil.example/",
    ):
        page.goto(system.url + address)
        page.expect_settled()
        if "?q=%22" in address:
            expect(page.search).to_have_value(SCRIPT)
            expect(page.empty).to_be_visible()
        expect(page.locator(MADE_ELEMENTS)).to_have_count(0)
        # What is written into the address stays on this site.
        page.search.fill(SCRIPT)
        page.search.press("Enter")
        expect(page.empty).to_be_visible()
        assert page.evaluate("[location.origin, new URL(location).searchParams.get('q')]") == [system.url, SCRIPT]


def test_in_an_error(page: Screen, faults: Faults) -> None:
    faults.expect(418, 422)
    errors = [{"field": field, "message": SCRIPT} for field in ("name", "desc", "userName", "password", SCRIPT)]
    problem = dict.fromkeys(("type", "title", "detail", "traceId"), SCRIPT) | {"status": 418, "errors": errors}
    page.sign_up()
    page.route("**/api/rule?*", answering(problem, 418, retry_after=SCRIPT))
    page.route("**/api/currentUser", answering(problem, 418))
    page.open()
    expect(page.list_error).to_contain_text(SCRIPT)

    page.unroute("**/api/rule?*")
    page.route("**/api/rule", answering(problem, 422))
    page.create("x")
    expect(page.name).to_have_attribute("aria-invalid", "true")


def test_in_what_services_answer(page: Screen) -> None:
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
    page.open()
    expect(page.names).to_have_text([SCRIPT])
    expect(page.profile_name).to_have_text(SCRIPT)
    expect(page.get_by_test_id("calls")).to_contain_text("onerror")
