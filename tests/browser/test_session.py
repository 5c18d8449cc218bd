"""The session, and how the corner of the page shows it."""

import re
from collections import Counter
from collections.abc import Callable

from playwright.sync_api import expect

from tests.browser.conftest import Faults
from tests.browser.screen import Screen, answering
from tests.support import GUEST_NAMES


def test_both_names_are_seen_over_reloads_of_the_profile_and_counted(guest: Screen) -> None:
    guest.open()
    guest.get_by_test_id("mesh-reset").click()
    seen = Counter()
    avatar = guest.locator("#profile-avatar")
    # Two versions take turns at random: one stays unseen once in 2^39 runs.
    while len(seen) < 2:
        assert seen.total() < 40
        with guest.expect_response("**/api/currentUser") as answer:
            guest.get_by_role("button", name="Reload the profile").click()
        version = answer.value.json()["version"]
        expect(guest.locator("#announcer-session")).to_have_text(f"{GUEST_NAMES[version]}, answered by user {version}")
        expect(guest.profile_variant).to_have_text(version)
        expect(guest.profile_name).to_have_text(GUEST_NAMES[version])
        expect(avatar).to_have_attribute("src", f"/avatars/guest-{version}.svg")
        expect(avatar).not_to_have_js_property("naturalWidth", 0)
        seen[version] += 1
    # The headers have told the panel the same.
    counts = {"todolist": seen.total(), "user-v1": seen["v1"], "user-v2": seen["v2"]}
    for node, count in counts.items():
        expect(guest.edge(node)).to_have_attribute("data-count", str(count))
        expect(guest.edge(node)).to_have_attribute("data-failed", "0")


def test_register(guest: Screen, faults: Faults) -> None:
    faults.expect(409, 422)
    taken = guest.sign_up("taken")
    guest.context.clear_cookies()
    guest.open()
    writes = guest.requests_of("POST", path="/")
    guest.register.click()
    guest.submit("Register", "a", "short")
    expect(guest.field_error("User name")).to_have_text("The user name needs 2 to 50 characters.")
    expect(guest.field_error("Password")).to_have_text("The password needs 8 to 128 characters.")
    expect(guest.user_name).to_be_focused()
    # The errors stand there until the form is another.
    guest.choose("Have an account? Log in")
    expect(guest.dialog.get_by_role("heading")).to_have_text("Log in")
    expect(guest.dialog.get_by_text("The user name needs 2 to 50 characters.")).to_be_hidden()
    expect(guest.user_name).to_have_value("a")
    guest.submit("Log in", "", "")
    expect(guest.field_error("User name")).to_have_text("Enter your user name.")
    expect(guest.field_error("Password")).to_have_text("Enter your password.")
    assert not writes
    guest.choose("Cancel")

    # Only the service knows that a name may not contain this, is reserved, or taken.
    guest.register.click()
    guest.submit("Register", "zero\u200bwidth")
    expect(guest.field_error("User name")).to_contain_text("This name cannot be used")
    expect(guest.user_name).to_have_value("zero\u200bwidth")
    guest.submit("Register", "GUEST")
    expect(guest.field_error("User name")).to_contain_text("This name cannot be used: it is reserved")
    guest.submit("Register", taken)
    expect(guest.alert).to_have_text("This name is already taken.")
    expect(guest.user_name).to_have_value(taken)

    name = f"Ada 秦 {taken}"
    guest.submit("Register", name)
    expect(guest.message).to_have_text(f"Welcome, {name}")
    expect(guest.profile_name).to_have_text(name)
    expect(guest.profile_kind).to_have_text("Logged in")
    expect(guest.empty).to_contain_text("Nothing to do yet")
    expect(guest.login).to_be_hidden()
    expect(guest.users).to_be_hidden()


def test_log_out_and_in_again_also_as_administrator(guest: Screen) -> None:
    name = guest.sign_up("grace")
    guest.open_with("Mine")
    expect(guest.profile_name).to_have_text(name)
    guest.logout.click()
    expect(guest.message).to_have_text("You are logged out")
    expect(guest.profile_name).to_have_text(re.compile("|".join(GUEST_NAMES.values())))
    expect(guest.login).to_be_focused()
    expect(guest.row("Mine")).to_have_count(0)

    guest.login.click()
    # The password can be shown, until the form is closed.
    show = guest.dialog.get_by_label("Show the password")
    guest.password.fill("secret words")
    expect(guest.password).to_have_attribute("type", "password")
    show.click()
    expect(guest.password).to_have_attribute("type", "text")
    expect(show).to_have_attribute("aria-pressed", "true")
    guest.choose("Cancel")
    guest.login.click()
    expect(guest.password).to_have_attribute("type", "password")
    expect(guest.password).to_have_value("")
    guest.submit("Log in", name)
    expect(guest.profile_name).to_have_text(name)
    expect(guest.names).to_have_text(["Mine"])
    # The button that opened the dialog is gone: the focus goes to what a login is for.
    expect(guest.get_by_role("heading", name="Todo items")).to_be_focused()

    guest.logout.click()
    guest.login.click()
    guest.submit("Log in", "admin", "adminadmin")
    expect(guest.profile_kind).to_have_text("Administrator")
    guest.users.click()
    accounts = guest.dialog.locator("tbody").get_by_role("row")
    expect(accounts.filter(has_text=re.compile(f"^{name}User$"))).to_have_count(1)
    expect(accounts.filter(has_text=re.compile("^adminAdministrator$"))).to_have_count(1)
    expect(guest.dialog.get_by_text(f"{accounts.count()} account")).to_be_visible()
    guest.choose("Close")
    expect(guest.users).to_be_focused()


def test_a_session_whose_changes_have_no_answer(guest: Screen, faults: Faults, unique: Callable[[str], str]) -> None:
    """The page finds out that it was done, instead of calling it a login elsewhere."""
    faults.expect("ERR_FAILED")
    name = unique("lost")
    for path in ("user/register", "api/login/account", "api/login/outLogin"):
        guest.route(f"**/{path}", lambda route: (route.fetch(), route.abort()))
    for button in ("Register", "Log in"):
        guest.context.clear_cookies()
        guest.open().get_by_role("button", name=button).click()
        guest.submit(button, name)
        expect(guest.profile_name).to_have_text(name)
        expect(guest.dialog).to_have_count(0)
        expect(guest.owner_notice).to_be_hidden()

    guest.search.fill("Mine")
    expect(guest.page).to_have_url(re.compile(r"\?q=Mine$"))
    guest.logout.click()
    expect(guest.warning).to_have_text("The gateway cannot be reached.")
    expect(guest.profile_kind).to_have_text("Guest")
    expect(guest.owner_notice).to_contain_text("you now see the shared list")
    # The next one at this screen does not see what was searched for.
    expect(guest.search).to_have_value("")
    expect(guest.page).to_have_url(re.compile(r"/$"))


def test_a_login_that_is_refused(guest: Screen, faults: Faults) -> None:
    faults.expect(401, 429)
    locked, name = guest.sign_up("mallory"), guest.sign_up("alan")
    guest.context.clear_cookies()
    guest.open()
    guest.login.click()
    # Too many wrong passwords
    for _ in range(3):
        guest.request.post("/api/login/account", data={"userName": locked, "password": "wrong wrong"})
    guest.submit("Log in", locked)
    expect(guest.alert).to_have_text(re.compile(r"^Too many attempts\. Try again in 1[45] minutes\.$"))
    expect(guest.profile_kind).to_have_text("Guest")

    # A wrong password
    guest.submit("Log in", name, "not the password")
    expect(guest.alert).to_have_text("User name or password is wrong.")
    expect(guest.user_name).to_have_value(name)
    expect(guest.password).to_have_value("not the password")
    expect(guest.profile_kind).to_have_text("Guest")
    # What is wrong no longer stands there once it is another.
    guest.password.fill("another")
    expect(guest.alert).to_be_hidden()

    # A browser that keeps no cookie
    guest.route("**/api/login/account", answering({"status": "ok", "type": "", "currentAuthority": "user"}))
    guest.submit("Log in", name)
    expect(guest.warning).to_contain_text("you are still a guest")
    expect(guest.message).to_be_empty()
    expect(guest.profile_kind).to_have_text("Guest")
    guest.unroute_all()
    guest.login.click()
    guest.submit("Log in", name)
    expect(guest.profile_name).to_have_text(name)
