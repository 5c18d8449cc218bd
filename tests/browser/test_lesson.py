"""A user follows a lesson: in a terminal, and in the page."""

import pytest
from playwright.sync_api import expect

from lessons.runner.check import PASSWORD
from tests.browser.conftest import Faults, Visit
from tests.local_mesh import Mesh, make


@pytest.mark.timeout(180)
def test_a_user_follows_two_lessons(mesh: Mesh, visit: Visit, faults: Faults) -> None:
    result = make(mesh.directory, "lesson", "N=canary")
    assert result.returncode == 0, result.stdout + result.stderr
    page = visit(base_url=mesh.url).open()
    lesson = page.get_by_test_id("lesson")
    expect(lesson).to_contain_text("Lesson 2: Canary by user")
    expect(page.profile_variant).to_have_text("v1")
    page.login.click()
    page.submit("Log in", "lesson-alice", PASSWORD)
    expect(page.profile_name).to_have_text("lesson-alice")
    expect(page.profile_variant).to_have_text("v2")
    make(mesh.directory, "lesson-reset")
    page.reload()
    expect(page.profile_name).to_have_text("lesson-alice")
    expect(lesson).to_be_empty()

    def forge() -> None:
        (cookie,) = (one for one in page.context.cookies() if one["name"] == "jwtToken")
        page.context.add_cookies([{**cookie, "value": cookie["value"][:-9] + "AAAAAAAAA"}])

    # In this lesson the proxy rejects a forged session: an open page becomes a guest's with the next call.
    assert make(mesh.directory, "lesson", "N=10").returncode == 0
    faults.expect(401)
    forge()
    page.reload_profile()
    expect(page.login).to_be_visible()
    expect(page.logout).to_be_hidden()
    expect(page.profile_name).not_to_have_text("lesson-alice")
    expect(page.owner_notice).to_contain_text("session")

    # The page itself is refused once, and never again.
    page.login.click()
    page.submit("Log in", "lesson-alice", PASSWORD)
    expect(page.profile_name).to_have_text("lesson-alice")
    forge()
    assert page.goto("/").status == 401
    assert page.goto("/").status == 200
    expect(page.login).to_be_visible()
