"""The request path panel, and gentle traffic."""

import re
from collections import Counter
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, Response, Route, expect

from lessons.runner import lesson as lessons
from services.todolist.settings import Settings
from tests.browser.conftest import Faults, Visit
from tests.browser.screen import answering, expect_settled, hold, open_list, requests_of
from tests.support import ROOT, wait_until

LEAVES = ("user-v1", "user-v2", "rule")
ENTRY = re.compile(r'(\w+);dur=([\d.]+);desc="(\w+)/(v\d)@([^"]+)"')
UPSTREAM_TIMEOUT = re.compile(r'UPSTREAM_TIMEOUT(?:\s+#[^\n]*)*\s+value: "(\d+)"')
PROFILE = "**/api/currentUser"
LIST = "**/api/rule?*"


@pytest.fixture
def moving(visit: Visit) -> Page:
    """A page whose dots move."""
    return visit(reduced_motion="no-preference")


def edge(page: Page, leaf: str) -> Locator:
    return page.get_by_test_id(f"mesh-edge-{leaf}")


def expect_counts(page: Page, **counts: int) -> None:
    for leaf, count in counts.items():
        expect(edge(page, leaf.replace("_", "-"))).to_have_attribute("data-count", str(count))


def counted_from_headers(page: Page) -> Counter[str]:
    """Return what grows with each answer: how often each version answered, by Server-Timing alone."""
    counts: Counter[str] = Counter()

    def count(response: Response) -> None:
        for service, _, name, version, _ in ENTRY.findall(response.headers.get("server-timing", "")):
            assert service == name
            counts["rule" if name == "rule" else f"{name}-{version}"] += 1

    page.on("response", count)
    return counts


def with_timing(*entries: str, served_by: str = "todolist/v1@gateway-0") -> Callable[[Route], None]:
    """Return a handler that lets the answer through with other headers, one entry after the other."""
    waiting = list(entries)

    def handle(route: Route) -> None:
        answer = route.fetch()
        timing = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        headers = {**answer.headers, "server-timing": timing, "x-served-by": served_by}
        route.fulfill(response=answer, headers=headers)

    return handle


def reload_profile(page: Page, times: int = 1) -> None:
    for _ in range(times):
        with page.expect_response(PROFILE):
            page.get_by_role("button", name="Reload the profile").click()


def test_the_edges_count_what_the_headers_say(moving: Page) -> None:
    counts = counted_from_headers(moving)
    open_list(moving)
    reload_profile(moving, 6)
    assert counts["rule"] == 1
    assert counts["user-v1"] + counts["user-v2"] == 7
    for leaf in LEAVES:
        expect(edge(moving, leaf)).to_have_attribute("data-count", str(counts[leaf]))
        expect(edge(moving, leaf)).to_have_attribute("data-failed", "0")
    expect_counts(moving, todolist=8)
    expect(moving.get_by_test_id("mesh-trunk-user")).to_have_attribute("data-count", "7")
    expect(moving.get_by_test_id("split-bar")).to_have_attribute("data-count", "7")
    # The same as text.
    lines = moving.get_by_role("list", name="Calls so far").get_by_role("listitem")
    gateway = re.compile(r"^gateway todolist v1: 8 calls, median .+ ms, last .+ ms, 1 instance$")
    for text in (gateway, re.compile(r"^rule v1: 1 call, ")):
        expect(lines.filter(has_text=text)).to_have_count(1)

    # A dot starts at the browser, in the middle of a picture 360 wide.
    moving.evaluate(
        """() => {
          window.starts = [];
          const note = ({ addedNodes }) => addedNodes.forEach((node) => {
            if (node.matches?.('.pulse')) starts.push(Number(node.getAttribute('cx')));
          });
          new MutationObserver((changes) => changes.forEach(note))
            .observe(document.querySelector('#picture'), { childList: true, subtree: true });
        }"""
    )
    reload_profile(moving)
    expect_counts(moving, todolist=9)
    moving.wait_for_function("starts.length")
    assert set(moving.evaluate("starts")) == {180}


def test_nothing_but_the_headers_counts(guest: Page) -> None:
    # The body names the variant that truly answered; these headers name others.
    entries = [*('user;dur=8.4;desc="user/v2@user-v2-7d9"',) * 3, 'user;dur=3.1;desc="user/v1@user-v1-5c4"']
    guest.route(PROFILE, with_timing(*entries))
    guest.route(LIST, with_timing('rule;dur=2.5;desc="rule/v1@rule-0"'))
    open_list(guest)
    expect(guest.get_by_test_id("profile-variant")).to_have_text("v2")
    reload_profile(guest, 3)

    expect(guest.get_by_test_id("profile-variant")).to_have_text("v1")
    expect_counts(guest, user_v1=1, user_v2=3, rule=1)
    expect(guest.get_by_test_id("split-bar")).to_have_attribute("aria-label", "v1: 1 (25%), v2: 3 (75%)")
    expect(guest.locator("#split-legend")).to_have_text("v1 125%v2 375%")
    expect(guest.locator("#picture")).to_contain_text("3× 8.4 ms")
    expect(guest.locator("#picture")).to_contain_text("1× 3.1 ms")
    width, whole = (guest.get_by_test_id(part).bounding_box()["width"] for part in ("split-v1", "split-bar"))
    assert width / whole == pytest.approx(0.25, abs=0.02)

    calls = guest.get_by_test_id("calls").get_by_role("listitem")
    expect(calls).to_have_count(5)
    expect(calls.first).to_contain_text("GET/api/currentUser200")
    expect(calls.first).to_contain_text("todolist/v1@gateway-0")
    expect(calls.first).to_contain_text("user v1 3.1 ms")

    # A third version gets an edge of its own.
    guest.unroute(PROFILE)
    guest.route(PROFILE, with_timing('user;dur=4.2;desc="user/v3@user-v3-0"'))
    reload_profile(guest)
    expect_counts(guest, user_v3=1, user_v1=1, user_v2=3)
    expect(guest.get_by_test_id("split-v3")).to_have_attribute("data-count", "1")

    guest.get_by_test_id("mesh-reset").click()
    expect(guest.locator("#toast-status")).to_have_text("Counts reset")
    expect_counts(guest, todolist=0, user_v1=0, user_v2=0, rule=0)
    expect(guest.get_by_test_id("calls")).to_have_text("No calls yet")
    expect(guest.get_by_test_id("split-bar")).to_have_attribute("aria-label", "No calls to user yet")


def test_a_cold_start_is_marked(guest: Page) -> None:
    open_list(guest)
    mark = guest.get_by_test_id("cold-user-v1")
    for instance in ("user-{}-deployment-1", "127.0.0.1:3012-woken-{}"):
        guest.unroute_all()
        guest.get_by_test_id("mesh-reset").click()
        cold = f'user;dur=1240;desc="user/v1@{instance.format("v1")}"'
        warm = f'user;dur=4.0;desc="user/v2@{instance.format("v2")}"'
        # New and quick is warm; slow and known is only slow.
        guest.route(PROFILE, with_timing(warm, cold, cold, warm.replace("4.0", "900")))
        reload_profile(guest)
        expect_counts(guest, user_v2=1)
        expect(guest.get_by_test_id("cold-user-v2")).to_have_count(0)
        reload_profile(guest)
        expect(mark).to_have_attribute("data-count", "1")
        expect(mark).to_contain_text("1,240 ms")
        expect(guest.get_by_test_id("calls").get_by_role("listitem").first).to_contain_text("cold start")
        expect(guest.locator("#mesh-text")).to_contain_text("1 cold start, 1,240 ms")
        reload_profile(guest, 2)
        expect_counts(guest, user_v1=2, user_v2=2)
        expect(mark).to_have_attribute("data-count", "1")
        expect(guest.get_by_test_id("cold-user-v2")).to_have_count(0)
    guest.get_by_test_id("mesh-reset").click()
    expect(mark).to_have_count(0)
    # A process that no call woke up has not slept.
    guest.unroute_all()
    guest.route(PROFILE, with_timing('user;dur=3005;desc="user/v1@127.0.0.1:3012"'))
    reload_profile(guest)
    expect_counts(guest, user_v1=1)
    expect(mark).to_have_count(0)


def test_a_reload_keeps_what_was_counted(guest: Page) -> None:
    v1, v2 = 'user;dur=900;desc="user/v1@user-v1-deployment-0"', 'user;dur=8.4;desc="user/v2@user-v2-0"'
    guest.route(PROFILE, with_timing(v1, v1, v2, v1))
    guest.route(LIST, with_timing('rule;dur=2.5;desc="rule/v1@rule-0"'))
    open_list(guest)
    reload_profile(guest, 2)
    expect_counts(guest, todolist=4, user_v1=2, user_v2=1)
    # A call that the reload interrupts has not failed.
    hold(guest, lambda request: request.method == "POST")
    with guest.expect_request("**/api/login/outLogin"):
        guest.evaluate("import('/modules/api.js').then((api) => { api.logOut(); })")
    guest.reload()
    expect_settled(guest)
    expect_counts(guest, todolist=6, user_v1=3, user_v2=1, rule=2)
    expect(edge(guest, "todolist")).to_have_attribute("data-failed", "0")
    # The instance of v1 is as slow as before, but known.
    expect(guest.get_by_test_id("cold-user-v1")).to_have_attribute("data-count", "1")
    expect(guest.get_by_test_id("split-bar")).to_have_attribute("aria-label", "v1: 3 (75%), v2: 1 (25%)")
    expect(guest.locator("#picture")).to_contain_text("3× 900 ms")
    expect(guest.get_by_test_id("calls").get_by_role("listitem")).to_have_count(6)

    guest.get_by_test_id("mesh-reset").click()
    # What cannot be read does no harm, nor storage that browsers refuse when the user blocks a site's data.
    for script in (
        "",
        "sessionStorage.setItem('todolist.mesh.1', '{\"leaves\": [], \"calls\": 7}')",
        "Object.defineProperty(window, 'sessionStorage', { get() { throw new DOMException('', 'SecurityError'); } })",
    ):
        guest.add_init_script(script)
        open_list(guest)
        expect_counts(guest, todolist=2, user_v1=1, rule=1)
        expect(guest.get_by_test_id("calls").get_by_role("listitem")).to_have_count(2)
        guest.get_by_test_id("mesh-reset").click()


def test_the_page_waits_longer_than_any_gateway(guest: Page) -> None:
    manifests = (ROOT / "deploy").rglob("*.yaml")
    timeouts = [float(seconds) for file in manifests for seconds in UPSTREAM_TIMEOUT.findall(file.read_text())]
    assert timeouts
    guest.add_init_script(
        """window.waits = [];
        const timeout = AbortSignal.timeout.bind(AbortSignal);
        AbortSignal.timeout = (ms) => { waits.push(ms); return timeout(ms); };"""
    )
    open_list(guest)
    # A gateway may first call user for the keys of the session, and only then the service that was asked for.
    assert guest.evaluate("Math.min(...waits)") > 2 * 1000 * max(*timeouts, Settings().upstream_timeout)


def test_failed_calls_are_counted_where_they_failed(guest: Page, faults: Faults) -> None:
    faults.expect(503, 500)
    open_list(guest)
    guest.get_by_test_id("mesh-reset").click()

    def fail(status: int, timing: str) -> None:
        guest.unroute_all()
        headers = {"server-timing": timing, "x-served-by": "todolist/v1@gateway-0"}
        guest.route(PROFILE, lambda route: route.fulfill(status=status, headers=headers, json={"status": status}))
        with guest.expect_response(PROFILE):
            guest.locator("#profile-reload").click()

    # No answer: it cannot be said which version failed.
    fail(503, "user;dur=2.0")
    expect(guest.get_by_test_id("mesh-trunk-user")).to_have_attribute("data-failed", "1")
    expect_counts(guest, user_v1=0, user_v2=0)
    fail(500, 'user;dur=2.0;desc="user/v2@user-v2-0"')
    expect(edge(guest, "user-v2")).to_have_attribute("data-failed", "1")
    expect(edge(guest, "user-v1")).to_have_attribute("data-failed", "0")
    expect(guest.get_by_test_id("calls").locator("li.failed")).to_have_count(2)


def test_the_panel_names_the_lesson_that_is_on(guest: Page) -> None:
    lesson = guest.get_by_test_id("lesson")

    def reload_with(**headers: str) -> None:
        """Let the answer name a lesson and who served it, or neither."""

        def handle(route: Route) -> None:
            answer = route.fetch()
            kept = {name: value for name, value in answer.headers.items() if name != "x-served-by"}
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            route.fulfill(response=answer, headers=kept | named)

        guest.unroute_all()
        guest.route(PROFILE, handle)
        reload_profile(guest)

    open_list(guest)
    expect(lesson).to_be_empty()
    by_gateway = {"x_served_by": "todolist/v1@gateway-0"}
    reload_with(x_lesson="03-mirror", **by_gateway)
    expect(lesson).to_have_role("status")
    expect(lesson).to_contain_text("Lesson 3: MirrorOnly v1 is seen here")
    # It is read out once, and not with each answer; what a proxy answers by itself says nothing.
    guest.evaluate(
        """() => {
          window.changes = 0;
          new MutationObserver(() => { changes += 1; })
            .observe(document.querySelector('#lesson'), { childList: true, subtree: true, characterData: true });
        }"""
    )
    reload_with(x_lesson="03-mirror", **by_gateway)
    reload_with()
    expect_counts(guest, todolist=4)
    assert guest.evaluate("changes") == 0

    guest.get_by_test_id("lang-switch").get_by_label("中文").check()
    expect(lesson).to_contain_text("第 3 课：镜像这里只看得到 v1")
    guest.get_by_test_id("lang-switch").get_by_label("English").check()
    reload_with(x_lesson="riddle-07", **by_gateway)
    expect(lesson).to_contain_text("Riddle 7Something is wrong.")
    reload_with(x_lesson="42-<b>new</b>", **by_gateway)
    expect(lesson).to_have_text("42-<b>new</b>")
    reload_with(**by_gateway)
    expect(lesson).to_be_empty()
    # It knows each by its title.
    texts = guest.evaluate("import('/locales/en.js').then((texts) => texts.default)")
    for one in lessons.every():
        assert texts.get(f"lesson.{one.name}") == one.about.title
        assert f"lesson.{one.name}.look" in texts


def start_traffic(page: Page, rate: int) -> None:
    """Stop the clock, so that only the tests let time pass, and switch the traffic on."""
    page.clock.install(time=0)
    open_list(page)
    page.clock.pause_at(3_600_000)
    page.get_by_test_id("traffic-rate").fill(str(rate))
    page.get_by_test_id("traffic-toggle").click()
    expect(page.get_by_test_id("traffic-toggle")).to_have_attribute("aria-checked", "true")


def let_pass_until(page: Page, condition: Callable[[], bool], what: str) -> None:
    """Let time pass in the page in small steps, between which answers arrive."""
    wait_until(lambda: page.clock.run_for(20) or condition(), what)


def test_traffic_keeps_its_rate_and_only_reads(guest: Page) -> None:
    sent, pause = requests_of(guest, path="/"), 50
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

    guest.get_by_test_id("traffic-toggle").click()
    expect(guest.locator("#traffic-state")).to_contain_text("Off.")
    guest.clock.run_for(10_000)
    assert len(sent) == 6

    again = requests_of(guest)
    guest.get_by_test_id("traffic-toggle").click()
    let_pass_until(guest, lambda: len(again) > 2, "there is traffic again")
    # The browser does this when another tab comes to the front.
    guest.evaluate(
        """() => {
          Object.defineProperty(document, 'hidden', { value: true, configurable: true });
          Object.defineProperty(document, 'visibilityState', { value: 'hidden', configurable: true });
          document.dispatchEvent(new Event('visibilitychange'));
        }"""
    )
    expect(guest.locator("#traffic-state")).to_have_text("Stopped because the page was hidden")
    before = len(again)
    guest.clock.run_for(10_000)
    # A request of the page's own comes after any that it should not have sent.
    reload_profile(guest)
    assert len(again) == before + 1
    # A reload keeps the rate, and starts nothing.
    guest.reload()
    expect(guest.locator("#traffic-rate-out")).to_have_text("20/s")
    expect(guest.get_by_test_id("traffic-rate")).to_have_value("20")
    expect(guest.get_by_test_id("traffic-toggle")).to_have_attribute("aria-checked", "false")


def test_traffic_fills_the_picture_and_leaves_the_corner_alone(moving: Page) -> None:
    open_list(moving)
    corner = moving.get_by_test_id("profile-variant")
    expect(corner).to_be_visible()
    shown = corner.inner_text()
    other = {"v1": "v2", "v2": "v1"}[shown]
    moving.route(PROFILE, with_timing(f'user;dur=5.0;desc="user/{other}@elsewhere"'))
    moving.get_by_test_id("traffic-rate").fill("20")
    moving.get_by_test_id("traffic-toggle").click()
    expect(edge(moving, f"user-{other}")).to_have_attribute("data-count", re.compile("^[3-9]|..$"))
    expect(edge(moving, "rule")).to_have_attribute("data-count", re.compile("^[3-9]|..$"))
    expect(corner).to_have_text(shown)
    expect_settled(moving)


def test_traffic_waits_after_a_429(guest: Page, faults: Faults) -> None:
    faults.expect(429)
    start_traffic(guest, 10)
    # As a proxy does: it names no service.
    guest.route(PROFILE, answering({"title": "Too Many Requests", "status": 429}, 429, retry_after="7"))
    profiles, lists = requests_of(guest, path="/api/currentUser"), requests_of(guest, path="/api/rule")
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
