"""The request path panel, and gentle traffic."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Route, expect

from lessons.runner import lesson as lessons
from services.todolist.settings import Settings
from tests.browser.conftest import Faults, Visit
from tests.browser.screen import Screen, answering
from tests.support import ROOT, wait_until

UPSTREAM_TIMEOUT = re.compile(r'UPSTREAM_TIMEOUT(?:\s+#[^\n]*)*\s+value: "(\d+)"')
PROFILE = "**/api/currentUser"


def expect_counts(screen: Screen, **counts: int) -> None:
    for leaf, count in counts.items():
        expect(screen.edge(leaf.replace("_", "-"))).to_have_attribute("data-count", str(count))


def rewrite_profiles(screen: Screen, *timings: str, served_by: str = "todolist/v1@gateway-0", lesson: str = "") -> None:
    """Let answers through with other headers from now on: each with the next Server-Timing, the last one again."""
    waiting = list(timings) or [""]

    def handle(route: Route) -> None:
        answer = route.fetch()
        timing = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        headers = {**answer.headers, "server-timing": timing, "x-served-by": served_by, "x-lesson": lesson}
        route.fulfill(response=answer, headers=headers)

    screen.unroute(PROFILE)
    screen.route(PROFILE, handle)


def test_the_panel_counts_what_the_headers_say(guest: Screen) -> None:
    # The body names the variant that truly answered; these headers name others.
    entries = [*('user;dur=8.4;desc="user/v2@user-v2-7d9"',) * 3, 'user;dur=3.1;desc="user/v1@user-v1-5c4"']
    rewrite_profiles(guest, *entries)
    guest.open()
    expect(guest.profile_variant).to_have_text("v2")
    guest.reload_profile(3)

    expect(guest.profile_variant).to_have_text("v1")
    expect_counts(guest, todolist=5, user_v1=1, user_v2=3, rule=1)
    for part in ("mesh-trunk-user", "split-bar"):
        expect(guest.get_by_test_id(part)).to_have_attribute("data-count", "4")
    expect(guest.locator("#split-bar")).to_have_attribute("aria-label", "v1: 1 (25%), v2: 3 (75%)")
    expect(guest.locator("#split-legend")).to_have_text("v1 125%v2 375%")
    expect(guest.locator("#picture")).to_contain_text("3× 8.4 ms")
    expect(guest.locator("#picture")).to_contain_text("1× 3.1 ms")
    # The same as text.
    lines = guest.get_by_role("list", name="Calls so far").get_by_role("listitem")
    # The list came from the real one.
    gateway = re.compile(r"^gateway todolist v1: 5 calls, median .+ ms, last .+ ms, 2 instances so far$")
    for text in (gateway, "user v2: 3 calls, median 8.4 ms, last 8.4 ms, 1 instance", re.compile("^rule v1: 1 call, ")):
        expect(lines.filter(has_text=text)).to_have_count(1)
    width, whole = (guest.get_by_test_id(part).bounding_box()["width"] for part in ("split-v1", "split-bar"))
    assert width / whole == pytest.approx(0.25, abs=0.02)

    expect(guest.calls).to_have_count(5)
    for text in ("GET/api/currentUser200", "todolist/v1@gateway-0", "user v1 3.1 ms"):
        expect(guest.calls.first).to_contain_text(text)

    # A third version gets an edge of its own.
    rewrite_profiles(guest, 'user;dur=4.2;desc="user/v3@user-v3-0"')
    guest.reload_profile()
    expect_counts(guest, user_v3=1, user_v1=1, user_v2=3)
    expect(guest.get_by_test_id("split-v3")).to_have_attribute("data-count", "1")

    guest.get_by_test_id("mesh-reset").click()
    expect(guest.message).to_have_text("Counts reset")
    expect_counts(guest, todolist=0, user_v1=0, user_v2=0, rule=0)
    expect(guest.get_by_test_id("calls")).to_have_text("No calls yet")
    expect(guest.locator("#split-bar")).to_have_attribute("aria-label", "No calls to user yet")


def test_a_dot_starts_at_the_browser(visit: Visit) -> None:
    moving = visit(reduced_motion="no-preference")
    moving.clock.install()
    moving.open()
    # Nothing moves while the clock stands still.
    moving.clock.pause_at(4_000_000_000)
    moving.reload_profile()
    # One frame
    moving.clock.run_for(16)
    # In the middle of a picture 360 wide
    expect(moving.locator("#picture .pulse")).to_have_attribute("cx", "180")


def test_a_cold_start_is_marked(guest: Screen) -> None:
    guest.open()
    mark = guest.get_by_test_id("cold-user-v1")
    for instance in ("user-{}-deployment-1", "127.0.0.1:3012-woken-{}"):
        guest.get_by_test_id("mesh-reset").click()
        cold = f'user;dur=1240;desc="user/v1@{instance.format("v1")}"'
        warm = f'user;dur=4.0;desc="user/v2@{instance.format("v2")}"'
        # New and quick is warm; slow and known is only slow.
        rewrite_profiles(guest, warm, cold, cold, warm.replace("4.0", "900"))
        guest.reload_profile()
        expect_counts(guest, user_v2=1)
        expect(guest.get_by_test_id("cold-user-v2")).to_have_count(0)
        guest.reload_profile()
        expect(mark).to_have_attribute("data-count", "1")
        expect(mark).to_contain_text("1,240 ms")
        expect(guest.calls.first).to_contain_text("cold start")
        expect(guest.locator("#mesh-text")).to_contain_text("1 cold start, 1,240 ms")
        guest.reload_profile(2)
        expect_counts(guest, user_v1=2, user_v2=2)
        expect(mark).to_have_attribute("data-count", "1")
        expect(guest.get_by_test_id("cold-user-v2")).to_have_count(0)
    guest.get_by_test_id("mesh-reset").click()
    expect(mark).to_have_count(0)
    # A process that no call woke up has not slept.
    rewrite_profiles(guest, 'user;dur=3005;desc="user/v1@127.0.0.1:3012"')
    guest.reload_profile()
    expect_counts(guest, user_v1=1)
    expect(mark).to_have_count(0)


def test_a_reload_keeps_what_was_counted(guest: Screen) -> None:
    v1, v2 = 'user;dur=900;desc="user/v1@user-v1-deployment-0"', 'user;dur=8.4;desc="user/v2@user-v2-0"'
    rewrite_profiles(guest, v1, v1, v2, v1)
    guest.open()
    guest.reload_profile(2)
    expect_counts(guest, todolist=4, user_v1=2, user_v2=1)
    # A call that the reload interrupts has not failed.
    guest.hold(lambda request: request.method == "POST")
    with guest.expect_request("**/api/login/outLogin"):
        guest.evaluate("import('/modules/api.js').then((api) => { api.logOut(); })")
    guest.reload()
    guest.expect_settled()
    expect_counts(guest, todolist=6, user_v1=3, user_v2=1, rule=2)
    expect(guest.edge("todolist")).to_have_attribute("data-failed", "0")
    # The instance of v1 is as slow as before, but known.
    expect(guest.get_by_test_id("cold-user-v1")).to_have_attribute("data-count", "1")
    expect(guest.locator("#split-bar")).to_have_attribute("aria-label", "v1: 3 (75%), v2: 1 (25%)")
    expect(guest.locator("#picture")).to_contain_text("3× 900 ms")
    expect(guest.calls).to_have_count(6)

    guest.get_by_test_id("mesh-reset").click()
    # What cannot be read does no harm, nor storage that browsers refuse when the user blocks a site's data.
    for script in (
        "",
        "sessionStorage.setItem('todolist.mesh.1', '{\"leaves\": [], \"calls\": 7}')",
        "Object.defineProperty(window, 'sessionStorage', { get() { throw new DOMException('', 'SecurityError'); } })",
    ):
        guest.add_init_script(script)
        guest.open()
        expect_counts(guest, todolist=2, user_v1=1, rule=1)
        expect(guest.calls).to_have_count(2)
        guest.get_by_test_id("mesh-reset").click()


def test_the_page_waits_longer_than_any_gateway(guest: Screen) -> None:
    manifests = (ROOT / "deploy").rglob("*.yaml")
    timeouts = [float(seconds) for file in manifests for seconds in UPSTREAM_TIMEOUT.findall(file.read_text())]
    assert timeouts
    guest.add_init_script(
        """window.waits = [];
        const timeout = AbortSignal.timeout.bind(AbortSignal);
        AbortSignal.timeout = (ms) => { waits.push(ms); return timeout(ms); };"""
    )
    guest.open()
    # A gateway may first call user for the keys of the session, and only then the service that was asked for.
    assert guest.evaluate("Math.min(...waits)") > 2 * 1000 * max(*timeouts, Settings().upstream_timeout)


def test_failed_calls_are_counted_where_they_failed(guest: Screen, faults: Faults) -> None:
    faults.expect(503, 500)
    guest.open()
    guest.get_by_test_id("mesh-reset").click()
    # Without an answer it cannot be said which version failed.
    failures = (503, "user;dur=2.0"), (500, 'user;dur=2.0;desc="user/v2@user-v2-0"')
    for known, (status, timing) in enumerate(failures):
        headers = {"server_timing": timing, "x_served_by": "todolist/v1@gateway-0"}
        guest.route(PROFILE, answering({"status": status}, status, **headers))
        guest.reload_profile()
        expect(guest.get_by_test_id("mesh-trunk-user")).to_have_attribute("data-failed", "1")
        expect_counts(guest, user_v1=0, user_v2=known)
    expect(guest.edge("user-v1")).to_have_attribute("data-failed", "0")
    expect(guest.edge("user-v2")).to_have_attribute("data-failed", "1")
    expect(guest.get_by_test_id("calls").locator("li.failed")).to_have_count(2)


def test_the_panel_names_the_lesson_that_is_on(guest: Screen) -> None:
    shown = guest.get_by_test_id("lesson")

    def reload_with(lesson: str, served_by: str = "todolist/v1@gateway-0") -> None:
        rewrite_profiles(guest, served_by=served_by, lesson=lesson)
        guest.reload_profile()

    guest.open()
    expect(shown).to_be_empty()
    reload_with("03-mirror")
    expect(shown).to_have_role("status")
    expect(shown).to_contain_text("Lesson 3: MirrorOnly v1 is seen here")
    # It is read out once, and not with each answer; what a proxy answers by itself says nothing.
    first = shown.locator("b").element_handle()
    reload_with("03-mirror")
    reload_with("", served_by="")
    expect_counts(guest, todolist=4)
    assert first.evaluate("node => node.isConnected")

    guest.set_language("中文")
    expect(shown).to_contain_text("第 3 课：镜像这里只看得到 v1")
    guest.set_language("English")
    reload_with("riddle-07")
    expect(shown).to_contain_text("Riddle 7Something is wrong.")
    reload_with("42-<b>new</b>")
    expect(shown).to_have_text("42-<b>new</b>")
    reload_with("")
    expect(shown).to_be_empty()
    # It knows each by its title.
    texts = guest.evaluate("import('/locales/en.js').then((texts) => texts.default)")
    for one in lessons.every():
        assert texts.get(f"lesson.{one.name}") == one.about.title
        assert f"lesson.{one.name}.look" in texts


def start_traffic(page: Screen, rate: int) -> None:
    """Stop the clock, so that only the tests let time pass, and switch the traffic on."""
    page.clock.install(time=0)
    page.open()
    page.clock.pause_at(3_600_000)
    page.rate.fill(str(rate))
    page.traffic.click()
    expect(page.traffic).to_have_attribute("aria-checked", "true")


def let_pass_until(page: Screen, condition: Callable[[], bool], what: str) -> None:
    """Let time pass in the page in small steps, between which answers arrive."""
    wait_until(lambda: page.clock.run_for(20) or condition(), what)


def test_traffic_keeps_its_rate_and_only_reads(guest: Screen) -> None:
    sent, pause = guest.requests_of(path="/"), 50
    start_traffic(guest, 20)
    expect(guest.locator("#traffic-rate-out")).to_have_text("20/s")
    expect(guest.locator("#traffic-state")).to_have_text("Sending 20 requests per second")
    sent.clear()
    guest.clock.run_for(pause - 1)
    assert not sent
    guest.clock.run_for(1)
    for _ in range(5):
        with guest.expect_response("**/api/*"):
            guest.clock.run_for(pause)
    guest.evaluate("0")
    assert len(sent) == 6
    assert {request.method for request in sent} == {"GET"}
    paths = [request.url.partition("/api")[2] for request in sent]
    assert paths[:4] in (["/currentUser", "/rule?pageSize=5"] * 2, ["/rule?pageSize=5", "/currentUser"] * 2)

    guest.traffic.click()
    expect(guest.locator("#traffic-state")).to_contain_text("Off.")
    guest.clock.run_for(10_000)
    assert len(sent) == 6

    again = guest.requests_of()
    guest.traffic.click()
    let_pass_until(guest, lambda: len(again) > 2, "there is traffic again")
    # The browser does this when another tab comes to the front.
    guest.evaluate(
        """Object.defineProperty(document, 'hidden', { value: true });
        document.dispatchEvent(new Event('visibilitychange'));"""
    )
    expect(guest.locator("#traffic-state")).to_have_text("Stopped because the page was hidden")
    before = len(again)
    guest.clock.run_for(10_000)
    # A request of the page's own comes after any that it should not have sent.
    guest.reload_profile()
    assert len(again) == before + 1
    # A reload keeps the rate, and starts nothing.
    guest.reload()
    expect(guest.locator("#traffic-rate-out")).to_have_text("20/s")
    expect(guest.rate).to_have_value("20")
    expect(guest.traffic).to_have_attribute("aria-checked", "false")


def test_traffic_fills_the_picture_and_leaves_the_corner_alone(visit: Visit) -> None:
    moving = visit(reduced_motion="no-preference")
    moving.open()
    corner = moving.get_by_test_id("profile-variant")
    expect(corner).to_be_visible()
    shown = corner.inner_text()
    other = {"v1": "v2", "v2": "v1"}[shown]
    rewrite_profiles(moving, f'user;dur=5.0;desc="user/{other}@elsewhere"')
    moving.rate.fill("20")
    moving.traffic.click()
    expect(moving.edge(f"user-{other}")).to_have_attribute("data-count", re.compile("^[3-9]|..$"))
    expect(moving.edge("rule")).to_have_attribute("data-count", re.compile("^[3-9]|..$"))
    expect(corner).to_have_text(shown)
    moving.expect_settled()


def test_traffic_waits_after_a_429(guest: Screen, faults: Faults) -> None:
    faults.expect(429)
    start_traffic(guest, 10)
    # As a proxy does: it names no service.
    guest.route(PROFILE, answering({"title": "Too Many Requests", "status": 429}, 429, retry_after="7"))
    profiles, lists = guest.requests_of(path="/api/currentUser"), guest.requests_of(path="/api/rule")
    refused = guest.get_by_test_id("calls").locator("li[data-status='429']")
    state = guest.locator("#traffic-state")
    let_pass_until(guest, lambda: state.get_attribute("data-state") == "backoff", "it waits")
    expect(state).to_have_text("Errors from /api/currentUser: next try in 7 seconds")
    expect(refused.first).to_be_visible()
    expect(refused.first).to_contain_text("answered by a proxy")
    # A refusal is an answer, no failure.
    expect(refused.first).not_to_have_class("failed")

    # The other path goes on, and the first one is not requested again meanwhile.
    asked, read = len(profiles), len(lists)
    guest.clock.run_for(5_000)
    let_pass_until(guest, lambda: len(lists) > read, "the list is still read")
    assert len(profiles) == asked
    guest.clock.run_for(1_000)
    let_pass_until(guest, lambda: len(profiles) > asked, "it tries again")
