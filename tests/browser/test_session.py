"""The session, and how the corner of the page shows it."""

import re
from collections.abc import Callable

from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Faults
from tests.browser.screen import (
    add_items,
    answering,
    dialog,
    field_error,
    names,
    open_list,
    register_elsewhere,
    requests_of,
    row,
    sign_up,
    submit,
)
from tests.support import GUEST_NAMES


def test_both_names_are_seen_over_reloads_of_the_profile(guest: Page) -> None:
    open_list(guest)
    seen: set[str] = set()
    badge, avatar = guest.get_by_test_id("profile-variant"), guest.locator("#profile-avatar")
    # Two variants take turns at random: one stays unseen once in 2^39 runs.
    for _ in range(40):
        with guest.expect_response("**/api/currentUser") as answer:
            guest.get_by_role("button", name="Reload the profile").click()
        version = answer.value.json()["version"]
        expect(guest.locator("#announcer-session")).to_have_text(f"{GUEST_NAMES[version]}, answered by user {version}")
        expect(badge).to_have_text(version)
        expect(guest.get_by_test_id("profile-name")).to_have_text(GUEST_NAMES[version])
        expect(avatar).to_have_attribute("src", f"/avatars/guest-{version}.svg")
        expect(avatar).not_to_have_js_property("naturalWidth", 0)
        seen.add(version)
        if len(seen) == 2:
            return
    raise AssertionError(f"only {seen} answered")


def test_register(guest: Page, faults: Faults, unique: Callable[[str], str]) -> None:
    faults.expect(409, 422)
    add_items(guest, "Of all guests")
    open_list(guest)
    register, user_name = guest.get_by_test_id("register"), dialog(guest).get_by_label("User name")
    writes = requests_of(guest, "POST", path="/")
    register.click()
    submit(guest, "Register", "a", "short")
    expect(field_error(guest, "User name")).to_have_text("The user name needs 2 to 50 characters.")
    expect(field_error(guest, "Password")).to_have_text("The password needs 8 to 128 characters.")
    expect(user_name).to_be_focused()
    # The errors stand there until the form is another.
    dialog(guest).get_by_role("button", name="Have an account? Log in").click()
    expect(dialog(guest).get_by_role("heading")).to_have_text("Log in")
    expect(dialog(guest).get_by_text("The user name needs 2 to 50 characters.")).to_be_hidden()
    expect(user_name).to_have_value("a")
    submit(guest, "Log in", "", "")
    expect(field_error(guest, "User name")).to_have_text("Enter your user name.")
    expect(field_error(guest, "Password")).to_have_text("Enter your password.")
    assert not writes
    dialog(guest).get_by_role("button", name="Cancel").click()

    # Only the service knows that a name may not contain this, is reserved, or taken.
    register.click()
    submit(guest, "Register", "zero\u200bwidth")
    expect(field_error(guest, "User name")).to_contain_text("This name cannot be used")
    expect(user_name).to_have_value("zero\u200bwidth")
    submit(guest, "Register", "GUEST")
    expect(field_error(guest, "User name")).to_contain_text("This name cannot be used: it is reserved")
    taken = register_elsewhere(guest, unique("taken"))
    submit(guest, "Register", taken)
    expect(dialog(guest).get_by_role("alert")).to_have_text("This name is already taken.")
    expect(user_name).to_have_value(taken)

    name = unique("Ada 秦")
    submit(guest, "Register", name)
    expect(guest.locator("#toast-status")).to_have_text(f"Welcome, {name}")
    expect(guest.get_by_test_id("profile-name")).to_have_text(name)
    expect(guest.locator("#profile-kind")).to_have_text("Logged in")
    expect(guest.get_by_test_id("empty")).to_contain_text("Nothing to do yet")
    expect(guest.get_by_test_id("login")).to_be_hidden()
    expect(guest.get_by_test_id("users")).to_be_hidden()


def test_log_out_and_in_again_also_as_administrator(guest: Page, unique: Callable[[str], str]) -> None:
    name = sign_up(guest, unique("grace"))
    add_items(guest, "Mine")
    open_list(guest)
    log_in, log_out, shown = (guest.get_by_test_id(part) for part in ("login", "logout", "profile-name"))
    expect(shown).to_have_text(name)
    log_out.click()
    expect(guest.locator("#toast-status")).to_have_text("You are logged out")
    expect(shown).to_have_text(re.compile("|".join(GUEST_NAMES.values())))
    expect(log_in).to_be_focused()
    expect(row(guest, "Mine")).to_have_count(0)

    log_in.click()
    # The password can be shown, until the form is closed.
    password, show = dialog(guest).get_by_label("Password", exact=True), dialog(guest).get_by_label("Show the password")
    password.fill("secret words")
    expect(password).to_have_attribute("type", "password")
    show.click()
    expect(password).to_have_attribute("type", "text")
    expect(show).to_have_attribute("aria-pressed", "true")
    dialog(guest).get_by_role("button", name="Cancel").click()
    log_in.click()
    expect(password).to_have_attribute("type", "password")
    expect(password).to_have_value("")
    submit(guest, "Log in", name)
    expect(shown).to_have_text(name)
    expect(names(guest)).to_have_text(["Mine"])
    # The button that opened the dialog is gone: the focus goes to what a login is for.
    expect(guest.get_by_role("heading", name="Todo items")).to_be_focused()

    log_out.click()
    log_in.click()
    submit(guest, "Log in", "admin", "adminadmin")
    expect(guest.locator("#profile-kind")).to_have_text("Administrator")
    guest.get_by_test_id("users").click()
    accounts = dialog(guest).get_by_test_id("users-list")
    expect(accounts.get_by_role("row").filter(has_text=re.compile(f"^{name}User$"))).to_have_count(1)
    expect(accounts.get_by_role("row").filter(has_text=re.compile("^adminAdministrator$"))).to_have_count(1)
    count = accounts.locator("tbody tr").count()
    expect(dialog(guest).get_by_text(f"{count} account")).to_be_visible()
    dialog(guest).get_by_role("button", name="Close").click()
    expect(guest.get_by_test_id("users")).to_be_focused()


def test_a_session_whose_changes_have_no_answer(guest: Page, faults: Faults, unique: Callable[[str], str]) -> None:
    """The page finds out that it was done, instead of calling it a login elsewhere."""
    faults.expect("ERR_FAILED")
    open_list(guest)

    def lose_the_answer(route: Route) -> None:
        route.fetch()
        route.abort()

    for path in ("user/register", "api/login/account"):
        guest.route(f"**/{path}", lose_the_answer)
    name = unique("lost")
    for button in ("Register", "Log in"):
        guest.get_by_role("button", name=button).click()
        submit(guest, button, name)
        expect(guest.get_by_test_id("profile-name")).to_have_text(name)
        expect(dialog(guest)).to_have_count(0)
        expect(guest.get_by_test_id("owner-notice")).to_be_hidden()
        if button == "Register":
            guest.get_by_test_id("logout").click()

    guest.get_by_role("searchbox").fill("Mine")
    expect(guest).to_have_url(re.compile(r"\?q=Mine$"))
    guest.route("**/api/login/outLogin", lose_the_answer)
    guest.get_by_test_id("logout").click()
    expect(guest.locator("#toast-alert")).to_have_text("The gateway cannot be reached.")
    expect(guest.locator("#profile-kind")).to_have_text("Guest")
    expect(guest.get_by_test_id("owner-notice")).to_contain_text("you now see the shared list")
    # The next one at this screen does not see what was searched for.
    expect(guest.get_by_role("searchbox")).to_have_value("")
    expect(guest).to_have_url(re.compile(r"/$"))


def test_a_login_that_is_refused(guest: Page, faults: Faults, unique: Callable[[str], str]) -> None:
    faults.expect(401, 429)
    open_list(guest)
    alert, kind = dialog(guest).get_by_role("alert"), guest.locator("#profile-kind")
    guest.get_by_test_id("login").click()
    # Too many wrong passwords
    locked = register_elsewhere(guest, unique("mallory"))
    for _ in range(3):
        guest.request.post("/api/login/account", data={"userName": locked, "password": "wrong wrong"})
    submit(guest, "Log in", locked)
    expect(alert).to_have_text(re.compile(r"^Too many attempts\. Try again in 1[45] minutes\.$"))
    expect(kind).to_have_text("Guest")

    # A wrong password
    name = register_elsewhere(guest, unique("alan"))
    submit(guest, "Log in", name, "not the password")
    expect(alert).to_have_text("User name or password is wrong.")
    expect(dialog(guest).get_by_label("User name")).to_have_value(name)
    password = dialog(guest).get_by_label("Password", exact=True)
    expect(password).to_have_value("not the password")
    expect(kind).to_have_text("Guest")
    # What is wrong no longer stands there once it is another.
    password.fill("another")
    expect(alert).to_be_hidden()

    # A browser that keeps no cookie
    logged_in = {"status": "ok", "type": "", "currentAuthority": "user"}
    guest.route("**/api/login/account", answering(logged_in))
    submit(guest, "Log in", name)
    expect(guest.locator("#toast-alert")).to_contain_text("you are still a guest")
    expect(guest.locator("#toast-status")).to_be_empty()
    expect(kind).to_have_text("Guest")
    guest.unroute_all()
    guest.get_by_test_id("login").click()
    submit(guest, "Log in", name)
    expect(guest.get_by_test_id("profile-name")).to_have_text(name)
