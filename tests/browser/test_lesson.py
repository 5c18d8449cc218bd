"""A person follows a lesson: in a terminal, and in the page."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from deploy.lessons.check import PASSWORD
from tests.browser.conftest import Visit
from tests.browser.screen import dialog, open_list
from tests.local_mesh import Mesh, make


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[Mesh]:
    mesh = Mesh(tmp_path).wait_ready()
    yield mesh
    mesh.interrupt()


@pytest.mark.timeout(180)
def test_a_person_follows_the_lesson_of_the_canary(mesh: Mesh, visit: Visit) -> None:
    told = make(mesh.directory, "lesson", "N=canary")
    assert told.returncode == 0, told.stdout + told.stderr
    page = open_list(visit(base_url=mesh.url))
    lesson, version = page.get_by_test_id("lesson"), page.get_by_test_id("profile-variant")
    expect(lesson).to_contain_text("Lesson 2: Canary by person")
    expect(version).to_have_text("v1")

    page.get_by_test_id("login").click()
    dialog(page).get_by_label("User name").fill("lesson-alice")
    dialog(page).get_by_label("Password", exact=True).fill(PASSWORD)
    dialog(page).get_by_role("button", name="Log in").click()
    expect(page.get_by_test_id("profile-name")).to_have_text("lesson-alice")
    expect(version).to_have_text("v2")

    make(mesh.directory, "lesson-reset")
    page.reload()
    expect(page.get_by_test_id("profile-name")).to_have_text("lesson-alice")
    expect(lesson).to_be_empty()
