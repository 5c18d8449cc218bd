"""Writes with an unknown outcome: the page looks it up, and sends nothing twice."""

from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Locator, Page, Request, Route, expect

from tests.browser.conftest import Faults, Visit, running_system
from tests.browser.screen import (
    action,
    add_items,
    answering,
    create,
    dialog,
    fill_in,
    hurry,
    names,
    open_list,
    register_elsewhere,
    requests_of,
    row,
    sign_up,
    status_of,
    stored,
    submit,
)
from tests.support import wait_until

UNKNOWN = "It is not known whether it was saved"
ABSENT = "It was looked up: it has not been saved. You can send it again."


def interrupt(page: Page, method: str, status: int | None, *, done: bool, **headers: str) -> None:
    """Answer the next write with a status, or not at all. done: the service has applied it."""

    interrupted = False

    def handle(route: Route) -> None:
        nonlocal interrupted
        if interrupted or route.request.method != method:
            return route.fallback()
        interrupted = True
        if done:
            route.fetch()
        if status is None:
            return route.abort("connectionreset")
        return answering({}, status, **headers)(route)

    page.route("**/api/rule", handle)


def alert(page: Page) -> Locator:
    return dialog(page).get_by_role("alert")


def test_an_account_that_may_have_been_created(guest: Page, faults: Faults, unique: Callable[[str], str]) -> None:
    faults.expect(504, 401)
    open_list(guest)
    created = False

    def handle(route: Route) -> None:
        if created:
            register_elsewhere(guest, name)
        route.fulfill(status=504)

    guest.route("**/user/register", handle)
    for created in (False, True):
        name = unique("perhaps")
        guest.get_by_test_id("register").click()
        submit(guest, "Register", name)
        expect(alert(guest)).to_contain_text("It is not known whether the account was created.")
        alert(guest).get_by_role("button", name="Log in").click()
        if not created:
            expect(alert(guest)).to_have_text("User name or password is wrong.")
            expect(dialog(guest).get_by_label("User name")).to_have_value(name)
            dialog(guest).get_by_role("button", name="Cancel").click()
    expect(guest.get_by_test_id("profile-name")).to_have_text(name)


def test_an_item_whose_answer_does_not_come(member: Page) -> None:
    """The page itself times out, later than any gateway."""
    member.add_init_script(
        """AbortSignal.timeout = () => {
          const last = new AbortController();
          window.timeOut = () => last.abort(new DOMException('', 'TimeoutError'));
          return last.signal;
        };"""
    )
    open_list(member)
    held: list[Route] = []

    def handle(route: Route) -> None:
        if route.request.method == "POST":
            route.fetch()
            held.append(route)
        else:
            route.fallback()

    member.route("**/api/rule", handle)
    fill_in(member, "Once")
    create(member)
    wait_until(lambda: member.evaluate("true") and held, "the service has saved it")
    member.evaluate("timeOut()")
    expect(names(member)).to_have_text(["Once"])
    assert (len(held), len(stored(member))) == (1, 1)


def test_an_item_that_was_saved_after_all(member: Page, faults: Faults) -> None:
    faults.expect(500, 503, 504, "ERR_CONNECTION_RESET")
    add_items(member, {"name": "Once", "desc": "Two"})
    open_list(member)
    writes = requests_of(member, "POST")
    # A 503 of a proxy may also mean that the service died before it could answer.
    # A search may not have U+FFFD, and the service strips U+0085.
    cases = [(500, "Once", "Once"), (503, "Once", "Once"), (None, "Once", "Once")]
    cases += [(504, "milk \ufffd", "milk \ufffd"), (504, "x\x85", "x")]
    for number, (status, typed, saved) in enumerate(cases, 1):
        interrupt(member, "POST", status, done=True)
        fill_in(member, typed, "Two")
        create(member)
        expect(member.locator("#toast-status")).to_have_text(f"Created “{saved}”")
        expect(dialog(member)).to_have_count(0)
        # Beside those that had been there.
        expect(names(member)).to_have_count(number + 1)
        assert (len(writes), len(stored(member))) == (number, number + 1)


def test_an_item_that_was_not_saved_can_be_sent_again(member: Page, faults: Faults) -> None:
    """Its first try may still arrive: it is one item, and as it was entered last."""
    faults.expect(504)
    variants = (
        ("never", "Three"),
        ("before the second try", "Two"),
        ("before the second try", "Three"),
        ("after the second try", "Three"),
    )
    add_items(member, *({"name": f"Once {number}", "desc": "Two"} for number in range(len(variants))))
    open_list(member)
    writes = requests_of(member, "POST")
    for number, (arrives, desc) in enumerate(variants):
        name = f"Once {number}"
        interrupt(member, "POST", 504, done=False)
        fill_in(member, name, "Two")
        create(member)
        expect(alert(member)).to_contain_text(UNKNOWN)
        member.get_by_role("button", name="Create", exact=True).click(force=True)
        hurry(member)
        expect(alert(member)).to_have_text(ABSENT)
        expect(member.get_by_label("Description")).to_have_value("Two")
        assert (len(writes), len(stored(member, name=name))) == (2 * number + 1, 1)
        first = writes[-1]

        def arrive(first: Request = first) -> None:
            answer = member.request.fetch(first, headers=first.all_headers())
            assert answer.status == 201, answer.text()

        if arrives == "before the second try":
            arrive()
        member.get_by_label("Description").fill(desc)
        create(member)
        expect(row(member, name)).to_have_count(2)
        if arrives == "after the second try":
            arrive()
        assert [item["desc"] for item in stored(member, name=name)] == [desc, "Two"], (arrives, desc)


def test_a_refusal_is_certain(member: Page, faults: Faults) -> None:
    faults.expect(503, 507)
    open_list(member)
    reads = requests_of(member, "GET")
    fill_in(member, "Once")
    for status, headers in (
        (507, {}),
        # Envoy's circuit breaker is open, or the gateway found no connection.
        (503, {"x_envoy_overloaded": "true"}),
        (503, {"x_served_by": "todolist/v1@a", "server_timing": "rule;dur=2"}),
    ):
        interrupt(member, "POST", status, done=False, **headers)
        create(member)
        expect(alert(member)).not_to_contain_text("not known")
    assert not reads
    create(member)
    expect(names(member)).to_have_text(["Once"])


def test_a_change_is_looked_up(member: Page, faults: Faults) -> None:
    faults.expect(502)
    add_items(member, "Milk")
    open_list(member)
    writes = requests_of(member, "PUT")
    note = member.locator("#toast-alert")
    interrupt(member, "PUT", 502, done=False)
    action(member, "Complete", "Milk").click()
    expect(note).to_contain_text(UNKNOWN)
    hurry(member)
    expect(note).to_have_text(f"“Milk”: {ABSENT}")
    expect(status_of(member, "Milk")).to_have_text("In progress")
    interrupt(member, "PUT", 502, done=True)
    action(member, "Complete", "Milk").click()
    expect(status_of(member, "Milk")).to_have_text("Done")
    # What is known now is no longer called unknown.
    expect(note).to_be_empty(timeout=5_000)

    action(member, "Edit", "Milk").click()
    field, save = member.get_by_label("Name", exact=True), member.get_by_role("button", name="Save")
    field.fill("Oat milk")
    interrupt(member, "PUT", 502, done=False)
    save.click()
    expect(alert(member)).to_have_text(ABSENT)
    expect(field).to_have_value("Oat milk")
    interrupt(member, "PUT", 502, done=True)
    save.click()
    expect(names(member)).to_have_text(["Oat milk"])
    assert len(writes) == 4


def test_a_deletion_is_looked_up(member: Page, faults: Faults) -> None:
    faults.expect(504)
    add_items(member, "Keep", "Two", "One")
    open_list(member)
    hurry(member)
    writes = requests_of(member, "DELETE")
    member.get_by_label("Select “One”").check()
    member.get_by_label("Select “Two”").check()
    member.get_by_role("button", name="Delete selected").click()
    delete = dialog(member).get_by_role("button", name="Delete")
    interrupt(member, "DELETE", 504, done=False)
    delete.click()
    expect(alert(member)).to_have_text("It was looked up: not everything has been deleted. You can delete again.")
    assert len(stored(member)) == 3
    interrupt(member, "DELETE", 504, done=True)
    delete.click()
    expect(names(member)).to_have_text(["Keep"])
    expect(member.locator("#toast-status")).to_have_text("2 items deleted")
    assert len(writes) == 2


def test_what_is_gone_goes(member: Page, faults: Faults) -> None:
    faults.expect(404)
    one, two, three, four, _ = add_items(member, "One", "Two", "Three", "Four", "Keep")
    open_list(member)
    action(member, "Edit", "One").click()
    member.request.delete("/api/rule", data={"key": [one["key"], two["key"]]})
    member.get_by_label("Description").fill("a long text")
    member.get_by_role("button", name="Save").click()
    expect(alert(member)).to_have_text("This item no longer exists.")
    expect(member.get_by_label("Description")).to_have_value("a long text")
    expect(names(member)).to_have_text(["Keep", "Four", "Three"])
    dialog(member).get_by_role("button", name="Cancel").click()

    member.request.delete("/api/rule", data={"key": four["key"]})
    action(member, "Complete", "Four").click()
    expect(member.locator("#toast-alert")).to_have_text("“Four” no longer exists.")
    expect(names(member)).to_have_text(["Keep", "Three"])

    action(member, "Delete", "Three").click()
    member.request.delete("/api/rule", data={"key": three["key"]})
    dialog(member).get_by_role("button", name="Delete").click()
    expect(member.locator("#toast-alert")).to_have_text("“Three” no longer exists.")
    expect(member.locator("#toast-status")).to_be_empty()
    expect(names(member)).to_have_text(["Keep"])


def test_a_service_that_saves_a_moment_later(
    visit: Visit, faults: Faults, unique: Callable[[str], str], tmp_path: Path
) -> None:
    faults.expect(504)
    with running_system(tmp_path, UPSTREAM_TIMEOUT="3") as system:
        page = visit(base_url=system.url)
        sign_up(page, unique("patient"))
        open_list(page)
        fill_in(page, "Once", "Two")
        system.rule.process.suspend()
        create(page)
        expect(alert(page)).to_contain_text("A service behind the gateway did not answer in time.")
        expect(alert(page)).to_contain_text(UNKNOWN)
        dialog(page).get_by_role("button", name="Cancel").click()
        system.rule.process.resume()
        hurry(page)
        expect(page.locator("#toast-status")).to_have_text("Created “Once”")
        expect(names(page)).to_have_text(["Once"])
        assert len(stored(page)) == 1
        page.close()


def test_an_outcome_that_only_its_owner_may_look_up(guest: Page, faults: Faults, unique: Callable[[str], str]) -> None:
    faults.expect(401, 504)
    name = sign_up(guest, unique("owner"))
    open_list(guest)
    writes = requests_of(guest, "POST", path="/api/rule")

    def handle(route: Route) -> None:
        if route.request.method == "POST" and len(writes) == 1:
            route.fetch()
            guest.context.clear_cookies()
            route.fulfill(status=504)
        else:
            route.fallback()

    guest.route("**/api/rule", handle)
    fill_in(guest, "Private")
    create(guest)
    expect(alert(guest)).to_contain_text("It is not known whether it was saved: another account is logged in now")
    expect(guest.get_by_label("Name", exact=True)).to_have_value("Private")
    alert(guest).get_by_role("button", name="Log in").click()
    submit(guest, "Log in", name)
    expect(guest.locator("#account-dialog")).to_be_hidden()
    create(guest)
    expect(dialog(guest)).to_have_count(0)
    expect(names(guest)).to_have_text(["Private"])
    assert len(stored(guest)) == 1


def test_another_item_is_not_taken_for_an_earlier_one(member: Page, faults: Faults) -> None:
    faults.expect(504)
    open_list(member)
    interrupt(member, "POST", 504, done=False)
    fill_in(member, "First")
    create(member)
    expect(alert(member)).to_contain_text(UNKNOWN)
    dialog(member).get_by_role("button", name="Cancel").click()
    fill_in(member, "Second")
    hurry(member)
    expect(member.locator("#toast-alert")).to_have_text(f"“First”: {ABSENT}")
    add_items(member, "First")
    create(member)
    expect(names(member)).to_have_text(["Second", "First"])
