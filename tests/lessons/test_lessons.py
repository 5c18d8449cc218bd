"""The lessons on the laptop: each check fails without its change and passes with it, and a reset leaves no trace."""

import math
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import get_args
from unittest.mock import Mock

import pytest

from lessons.runner import command
from lessons.runner import difference as difference_of
from lessons.runner import lesson as lessons
from lessons.runner.check import bounds
from lessons.runner.lesson import Lesson, PlaceName
from tests.local_mesh import Mesh, heed_sigint, make
from tests.support import wait_until


def every_lesson_shortened() -> list[Lesson]:
    """Return all lessons, with fewer requests, kills and steps of a release, and shorter waits than they have."""
    found = []
    for lesson in lessons.every():
        names = lesson.run.__globals__
        if lesson.name == "01-split":
            names["REQUESTS"] = 100
        if lesson.name == "16-events":
            names["KILLS"] = 2
        if lesson.name == "18-release":
            names["STEPS"] = names["release"].__globals__["STEPS"] = (25, 100)
        found.append(replace(lesson, about=replace(lesson.about, sleep=min(lesson.about.sleep, 1))))
    return found


EVERY = every_lesson_shortened()
ON_THE_LAPTOP = [lesson for lesson in EVERY if "laptop" in lesson.about.places]
ELSEWHERE = [lesson for lesson in EVERY if "laptop" not in lesson.about.places]


@pytest.fixture
def mesh(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mesh]:
    """The run, as it was started; commands in this process find it."""
    monkeypatch.chdir(mesh.directory)
    monkeypatch.setattr(lessons, "every", lambda: EVERY)
    yield mesh
    command.reset()


# make takes the first one: test_the_commands_of_a_lesson.
@pytest.mark.parametrize("lesson", ON_THE_LAPTOP[1:], ids=lambda lesson: lesson.name)
def test_a_check_fails_without_the_change_and_passes_with_it(
    mesh: Mesh, lesson: Lesson, capsys: pytest.CaptureFixture[str]
) -> None:
    before = mesh.configuration()
    assert_fails_without_its_change(lesson, capsys)
    # Once in a thousand times a share is out of its bounds by chance.
    assert command.start(lesson.name) == 0 or command.start(lesson.name) == 0
    said = capsys.readouterr().out
    assert mesh.configuration() != before
    if lesson.number == 12:
        times_of_a_trace_add_up(said)
    if lesson.number == 13:
        phases_of_a_cold_start_add_up(said)
        assert "a service sleeps" in make(mesh.directory, "status").stdout
    command.reset()
    assert f"`make run` at {mesh.url}: as it was started. Lesson {lesson.name} is over." in capsys.readouterr().out
    assert mesh.configuration() == before
    # All are awake again, whatever slept.
    assert (len(mesh.processes("services.user")), len(mesh.processes("services.rule"))) == (2, 1)


def assert_fails_without_its_change(lesson: Lesson, capsys: pytest.CaptureFixture[str]) -> None:
    assert not command.passes(command.find_place(), lesson, with_change=False)
    assert re.search(r"^  FAILED \S.*\n(?: {9}.*\n)*? {9}expected: \S", capsys.readouterr().out, re.MULTILINE)


def times_of_a_trace_add_up(said: str) -> None:
    waited, todolist, rule = map(float, re.findall(r"(?:waited|took) ([\d.]+) ms", said))
    *parts, total = map(float, re.findall(r"([\d.]+) (?:in|for|ms)", said.partition("So: ")[2].partition("\n")[0]))
    assert waited >= todolist >= rule > 0
    assert math.isclose(sum(parts), total, abs_tol=0.01)
    assert all(part >= 0 for part in parts)
    assert total == waited


def phases_of_a_cold_start_add_up(said: str) -> None:
    page = float(re.search(r"The first page took ([\d.]+) s", said)[1])
    _, *services = re.split(r"^ +(?:user v[12]|rule v1):$", said, flags=re.MULTILINE)
    assert len(services) == 2
    for service in services:
        parts = [float(part) for part in re.findall(r"^ +([\d.]+) s  ", service, re.MULTILINE)]
        assert len(parts) == 5
        assert all(part >= 0 for part in parts)
        assert 0.1 < sum(parts) < page + 0.05


FULL = "The output cannot be written: No space left on device\n"


def test_the_commands_of_a_lesson(mesh: Mesh, capsys: pytest.CaptureFixture[str]) -> None:
    lesson = ON_THE_LAPTOP[0]
    assert_fails_without_its_change(lesson, capsys)
    output = make(mesh.directory, "lesson", f"N={lesson.number}").stdout
    if "FAILED" in output:
        # By chance: see above.
        output = make(mesh.directory, "lesson", f"N={lesson.number}").stdout
    assert f"Lesson 1, Split, on `make run` at {mesh.url}\n" in output
    assert "    -   - { name: user-v1, weight: 50 }" in output
    assert "    +   - { name: user-v1, weight: 90 }" in output
    # It fits into a narrow terminal.
    assert max(map(len, output.splitlines())) <= 80
    assert "lesson N=1 DIFF=all` shows all of it" in output
    assert re.search(r"ok +\d+ of 300 requests were answered by v1 \(expected: \d+ to \d+\)", output)
    assert "FAILED" not in output
    status = make(mesh.directory, "status").stdout
    assert f"the lesson that is on: {lesson.name}" in status
    assert "the split of user:\n  v1 0 %\n  v2 100 %\n" in status
    # A reader that has ended is no error, and a full output is no fault of the data.
    for output, error in (("| head -3", ""), (">/dev/full", FULL)):
        shell = ["bash", "-c", f"{sys.executable} -m lessons.runner list {output}"]
        ended = subprocess.run(shell, cwd=mesh.directory, capture_output=True, text=True, timeout=60, check=False)
        assert ended.stderr == error
        assert f"* {lesson.number:>2}  {lesson.about.title}" in ended.stdout or error
    assert f"Lesson {lesson.name} is over." in make(mesh.directory, "lesson-reset").stdout
    command.reset()
    assert "No lesson was on." in capsys.readouterr().out


def test_a_lesson_starts_from_a_reset_mesh(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = ON_THE_LAPTOP[5], ON_THE_LAPTOP[1]
    place = command.find_place()
    place.apply(second)
    alone = mesh.configuration()
    # Its routes have no weights.
    assert "the split of user:\n  none, as the routes have no weights" in make(mesh.directory, "status").stdout
    place.reset()
    place.apply(first)
    monkeypatch.setattr(command, "passes", lambda *_: False)
    # A failed check is a failed command.
    assert command.start(second.name) == 1
    assert mesh.configuration() == alone


def test_an_interrupted_lesson_leaves_nothing_broken(mesh: Mesh) -> None:
    before = mesh.configuration()
    running = subprocess.Popen(
        [sys.executable, "-u", "-m", "lessons.runner", "start", "1"], cwd=mesh.directory,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=heed_sigint,  # noqa: PLW1509 - nothing else runs yet
    )  # fmt: skip
    wait_until(lambda: running.stdout.readline().startswith("Applied."), "the check begins", 30)
    running.send_signal(signal.SIGINT)
    said = running.communicate(timeout=20)[1]
    assert running.returncode != 0
    assert "`make lesson-reset`" in said
    assert "Traceback" not in said
    assert set(mesh.versions(20)) <= {"v1", "v2"}
    command.reset()
    assert mesh.configuration() == before


def test_two_lessons_at_once_are_rejected(mesh: Mesh, capsys: pytest.CaptureFixture[str]) -> None:
    with command.alone("make lesson N=7"):
        for other in (("start", "1"), ("reset",), ("check",)):
            assert command.main(*other) == 1
            assert capsys.readouterr().err.startswith("`make lesson N=7` is at work in another terminal")
    assert command.main("reset") == 0


def test_what_matters_is_marked_and_shown_first_and_the_rest_on_demand(
    mesh: Mesh, capsys: pytest.CaptureFixture[str]
) -> None:
    place = command.find_place()
    for lesson in ON_THE_LAPTOP[4:8]:
        command.show_change(place, lesson, everything=False)
        first = capsys.readouterr().out
        command.show_change(place, lesson, everything=True)
        everything = capsys.readouterr().out
        assert len(first.splitlines()) < 45
        assert f"`make lesson N={lesson.number} DIFF=all` shows all of it" in first
        added = [line.strip() for line in place.difference(lesson).splitlines() if re.match(r"\+(?!\+\+)", line)]
        assert all(line[1:].strip() in everything for line in added)
        # Each term that needs it is explained.
        for text in (first, everything):
            shown = text.partition("Words in it:")[0]
            for word in ("STRICT_DNS", "consecutive_gateway_failure", "pipe"):
                assert (word in shown) == (f"  {word}: " in text), (word, text)
        assert "*name: (YAML) repeats" in everything
    for lesson in ON_THE_LAPTOP:
        if change := place.change(lesson):
            marked = difference_of.marks(change)
            text, _ = difference_of.essence(place.difference(lesson), marked)
            assert marked, lesson.name
            # Each mark has its explanation.
            assert text.count("\n\n") + 1 == len(marked), (lesson.name, text)


def test_the_order_of_a_clusters_diff_does_not_matter() -> None:
    diff = [
        "--- LIVE/v1.Thing\n", "+++ MERGED/v1.Thing\n", "@@ -1,2 +1,4 @@\n",
        " spec:\n", "-  old: 1\n", "+  consecutive5xxErrors: 5\n", "+  baseEjectionTime: 4s\n", "+  other: 1\n",
    ]  # fmt: skip
    marked = difference_of.marks(
        "spec:\n  #> five failures\n  # and it is out.\n  out:\n    baseEjectionTime: 4s\n    consecutive5xxErrors: 5\n"
    )
    text, others = difference_of.essence("".join(diff), marked)
    assert text.splitlines() == [
        "  MERGED/v1.Thing: five failures and it is out.",
        "    - old: 1",
        "    + consecutive5xxErrors: 5",
        "    + baseEjectionTime: 4s",
    ]
    assert others == 1


def test_a_lesson_that_cannot_run_here_prints_why(mesh: Mesh, capsys: pytest.CaptureFixture[str]) -> None:
    for lesson in ELSEWHERE:
        assert command.main("start", str(lesson.number)) == 1
        assert lesson.about.elsewhere["laptop"] in capsys.readouterr().err


def test_lesson_16_ends_at_once_where_no_events_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    lesson, check = lessons.find("events"), Mock()
    check.person("lesson-alice").unread.return_value = 0
    monkeypatch.setitem(lesson.run.__globals__, "ARRIVAL", 0.1)
    with pytest.raises(TimeoutError, match="events of rule reach user"):
        lesson.run(check)


def test_a_lesson_is_found_by_its_number_or_name_however_it_is_typed() -> None:
    for wanted in ("1", "01", "1 ", "split", "Split", " 01-SPLIT"):
        assert getattr(lessons.find(wanted), "name", None) == "01-split", wanted
    assert lessons.find("spli") is None


def test_bounds_are_those_of_a_binomial_distribution() -> None:
    # From tables: 10 tosses of a coin.
    assert bounds(10, 0.5, 0.99) == (1, 9)
    assert bounds(10, 1) == (10, 10)
    assert bounds(10, 0) == (0, 0)


def test_every_folder_is_complete() -> None:
    makefiles = Path("Makefile").read_text() + Path("deploy/cluster.mk").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefiles, re.MULTILINE))
    for lesson in lessons.every():
        assert {*lesson.about.places, *lesson.about.elsewhere} == set(get_args(PlaceName)), lesson.name
        for path in (lesson.folder / "README.md", lesson.folder / "README.zh-CN.md"):
            text = path.read_text()
            commands = set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE))
            assert commands
            assert commands <= targets, path
            for link in re.findall(r"\]\(([^)#]+)", text):
                assert link.startswith("http") or (lesson.folder / link).exists(), (path, link)
        for path in (*lesson.folder.glob("istio*.yaml"), *lesson.folder.glob("ambient*.yaml")):
            labels = re.findall(r"^    lesson: (\S+)$", path.read_text(), re.MULTILINE)
            assert set(labels) == {lesson.name}, path
            assert len(labels) == len(re.findall(r"^kind: ", path.read_text(), re.MULTILINE)), path
