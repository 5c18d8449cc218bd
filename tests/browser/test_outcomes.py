"""Writes with an unknown outcome: the page looks it up, and sends nothing twice."""

from collections.abc import Callable

from playwright.sync_api import Request, Route, expect

from tests.browser.conftest import Faults, System, Visit
from tests.browser.screen import Screen, answering

UNKNOWN = "It is not known whether it was saved"
ABSENT = "It was looked up: it has not been saved. You can send it again."


def interrupt(screen: Screen, status: int | None, *, done: bool, **headers: str) -> None:
    """Answer the next write with a status, or not at all. done: the service has applied it."""

    def handle(route: Route) -> None:
        if done:
            route.fetch()
        if status is None:
            route.abort("connectionreset")
        else:
            answering({}, status, **headers)(route)

    screen.route("**/api/rule", handle, times=1)


def test_an_account_that_may_have_been_created(guest: Screen, faults: Faults, unique: Callable[[str], str]) -> None:
    faults.expect(504, 401)
    guest.open()
    created = False

    def handle(route: Route) -> None:
        if created:
            route.fetch()
            guest.context.clear_cookies()
        route.fulfill(status=504)

    guest.route("**/user/register", handle)
    for created in (False, True):
        name = unique("perhaps")
        guest.register.click()
        guest.submit("Register", name)
        expect(guest.alert).to_contain_text("It is not known whether the account was created.")
        guest.alert.get_by_role("button", name="Log in").click()
        if not created:
            expect(guest.alert).to_have_text("User name or password is wrong.")
            expect(guest.user_name).to_have_value(name)
            guest.choose("Cancel")
    expect(guest.profile_name).to_have_text(name)


def test_an_item_that_was_saved_after_all(member: Screen, faults: Faults) -> None:
    faults.expect(500, 503, 504, "ERR_CONNECTION_RESET")
    member.add_init_script("AbortSignal.timeout = () => (window.newest = new AbortController()).signal;")
    member.open_with({"name": "Once", "desc": "Two"})
    writes = member.requests_of("POST")

    def time_out(route: Route) -> None:
        """The service saves it, and the page itself times out, later than any gateway."""
        route.fetch()
        member.evaluate("newest.abort(new DOMException('', 'TimeoutError'))")

    # A 503 of a proxy may also mean that the service died before it could answer.
    # A search may not have U+FFFD, and the service strips U+0085.
    cases = [(500, "Once", "Once"), (503, "Once", "Once"), (None, "Once", "Once"), ("timeout", "Once", "Once")]
    cases += [(504, "milk \ufffd", "milk \ufffd"), (504, "x\x85", "x")]
    for number, (status, typed, saved) in enumerate(cases, 1):
        if status == "timeout":
            member.route("**/api/rule", time_out, times=1)
        else:
            interrupt(member, status, done=True)
        member.create(typed, "Two")
        expect(member.message).to_have_text(f"Created “{saved}”")
        expect(member.dialog).to_have_count(0)
        # Beside those that had been there.
        expect(member.names).to_have_count(number + 1)
        assert (len(writes), len(member.stored())) == (number, number + 1)


def test_an_item_that_was_not_saved_can_be_sent_again(member: Screen, faults: Faults) -> None:
    """Its first try may still arrive: it is one item, and as it was entered last."""
    faults.expect(504)
    variants = (
        ("never", "Three"),
        ("before the second try", "Two"),
        ("before the second try", "Three"),
        ("after the second try", "Three"),
    )
    member.open_with(*({"name": f"Once {number}", "desc": "Two"} for number in range(len(variants))))
    # The page says only for a moment, then, that the outcome is unknown: the tests below see that.
    member.hurry()
    writes = member.requests_of("POST")

    def arrive(write: Request) -> None:
        answer = member.request.fetch(write, headers=write.all_headers())
        assert answer.status == 201, answer.text()

    for number, (arrives, desc) in enumerate(variants):
        name = f"Once {number}"
        interrupt(member, 504, done=False)
        member.create(name, "Two")
        expect(member.alert).to_have_text(ABSENT)
        expect(member.desc).to_have_value("Two")
        assert (len(writes), len(member.stored(name=name))) == (2 * number + 1, 1)
        first = writes[-1]
        if arrives == "before the second try":
            arrive(first)
        member.desc.fill(desc)
        member.choose("Create")
        expect(member.row(name)).to_have_count(2)
        if arrives == "after the second try":
            arrive(first)
        assert [item["desc"] for item in member.stored(name=name)] == [desc, "Two"], (arrives, desc)


def test_another_item_is_not_taken_for_an_earlier_one(member: Screen, faults: Faults) -> None:
    faults.expect(504)
    member.open()
    writes = member.requests_of("POST")
    lookups = member.hold(lambda request: "name=First" in request.url and not lookups)
    interrupt(member, 504, done=False)
    member.create("First")
    expect(member.alert).to_contain_text(UNKNOWN)
    # While it is looked up, it is not sent again.
    member.get_by_role("button", name="Create", exact=True).click(force=True)
    assert len(writes) == 1
    member.choose("Cancel")
    member.fill_in("Second")
    member.hurry()
    lookups[0].continue_()
    expect(member.warning).to_have_text(f"“First”: {ABSENT}")
    member.add_items("First")
    member.choose("Create")
    expect(member.names).to_have_text(["Second", "First"])
    assert len(writes) == 2


def test_a_refusal_is_certain(member: Screen, faults: Faults) -> None:
    faults.expect(503, 507)
    member.open()
    reads = member.requests_of("GET")
    member.fill_in("Once")
    for status, headers in (
        (507, {}),
        # Envoy's circuit breaker is open, or the gateway found no connection.
        (503, {"x_envoy_overloaded": "true"}),
        (503, {"x_served_by": "todolist/v1@a", "server_timing": "rule;dur=2"}),
    ):
        interrupt(member, status, done=False, **headers)
        member.choose("Create")
        expect(member.alert).not_to_contain_text("not known")
    assert not reads
    member.choose("Create")
    expect(member.names).to_have_text(["Once"])


def test_a_change_is_looked_up(member: Screen, faults: Faults) -> None:
    faults.expect(502)
    member.open_with("Milk")
    writes = member.requests_of("PUT")
    lookups = member.hold(lambda request: "key=" in request.url and not lookups)
    interrupt(member, 502, done=False)
    member.action("Complete", "Milk").click()
    expect(member.warning).to_contain_text(UNKNOWN)
    member.hurry()
    lookups[0].continue_()
    expect(member.warning).to_have_text(f"“Milk”: {ABSENT}")
    expect(member.status_of("Milk")).to_have_text("In progress")
    interrupt(member, 502, done=True)
    member.action("Complete", "Milk").click()
    expect(member.status_of("Milk")).to_have_text("Done")
    # What is known now is no longer called unknown.
    expect(member.warning).to_be_empty(timeout=5_000)

    member.action("Edit", "Milk").click()
    member.name.fill("Oat milk")
    interrupt(member, 502, done=False)
    member.choose("Save")
    expect(member.alert).to_have_text(ABSENT)
    expect(member.name).to_have_value("Oat milk")
    interrupt(member, 502, done=True)
    member.choose("Save")
    expect(member.names).to_have_text(["Oat milk"])
    assert len(writes) == 4


def test_a_deletion_is_looked_up(member: Screen, faults: Faults) -> None:
    faults.expect(504)
    member.open_with("Keep", "Two", "One")
    member.hurry()
    writes = member.requests_of("DELETE")
    member.checkbox("One").check()
    member.checkbox("Two").check()
    member.delete_selected.click()
    interrupt(member, 504, done=False)
    member.choose("Delete")
    expect(member.alert).to_have_text("It was looked up: not everything has been deleted. You can delete again.")
    assert len(member.stored()) == 3
    interrupt(member, 504, done=True)
    member.choose("Delete")
    expect(member.names).to_have_text(["Keep"])
    expect(member.message).to_have_text("2 items deleted")
    assert len(writes) == 2


def test_what_is_gone_goes(member: Screen, faults: Faults) -> None:
    faults.expect(404)
    one, two, three, four, _ = member.open_with("One", "Two", "Three", "Four", "Keep")
    member.action("Edit", "One").click()
    member.delete(one, two)
    member.desc.fill("a long text")
    member.choose("Save")
    expect(member.alert).to_have_text("This item no longer exists.")
    expect(member.desc).to_have_value("a long text")
    expect(member.names).to_have_text(["Keep", "Four", "Three"])
    member.choose("Cancel")

    member.delete(four)
    member.action("Complete", "Four").click()
    expect(member.warning).to_have_text("“Four” no longer exists.")
    expect(member.names).to_have_text(["Keep", "Three"])

    member.action("Delete", "Three").click()
    member.delete(three)
    member.choose("Delete")
    expect(member.warning).to_have_text("“Three” no longer exists.")
    expect(member.message).to_be_empty()
    expect(member.names).to_have_text(["Keep"])


def test_a_service_that_saves_a_moment_later(visit: Visit, breakable: System, faults: Faults) -> None:
    faults.expect(504)
    page = visit(base_url=breakable.url)
    page.sign_up()
    page.open()
    page.fill_in("Once", "Two")
    breakable.rule.process.suspend()
    page.choose("Create")
    expect(page.alert).to_contain_text("A service behind the gateway did not answer in time.")
    expect(page.alert).to_contain_text(UNKNOWN)
    page.choose("Cancel")
    breakable.rule.process.resume()
    page.hurry()
    expect(page.message).to_have_text("Created “Once”")
    expect(page.names).to_have_text(["Once"])
    assert len(page.stored()) == 1


def test_an_outcome_that_only_its_owner_may_look_up(guest: Screen, faults: Faults) -> None:
    faults.expect(401, 504)
    name = guest.sign_up("owner")
    guest.open()
    guest.fill_in("Private")

    def lose_answer_and_session(route: Route) -> None:
        route.fetch()
        guest.context.clear_cookies()
        route.fulfill(status=504)

    guest.route("**/api/rule", lose_answer_and_session, times=1)
    guest.choose("Create")
    expect(guest.alert).to_contain_text("It is not known whether it was saved: another account is logged in now")
    expect(guest.name).to_have_value("Private")
    guest.alert.get_by_role("button", name="Log in").click()
    guest.submit("Log in", name)
    expect(guest.locator("#account-dialog")).to_be_hidden()
    guest.choose("Create")
    expect(guest.dialog).to_have_count(0)
    expect(guest.names).to_have_text(["Private"])
    assert len(guest.stored()) == 1
