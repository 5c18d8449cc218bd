"""A lesson: a folder under `lessons/` with what it changes, its check, and its pages."""

import runpy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

FOLDER = Path(__file__).parents[1]

PlaceName = Literal["laptop", "istio", "ambient", "knative"]


@dataclass(frozen=True)
class About:
    """The metadata of a lesson: ABOUT in its check.py.

    title, learn: a few words, and what a person learns; look: where to look while it is on; think: a question, which
    the README answers; places: where it can run; elsewhere: for each other place, why it cannot run there; failures:
    what todolist logs of calls that the lesson makes fail (a regular expression), which `make run` prints once;
    certificates: on the laptop, whether the ingress needs a certificate; broker: on Knative, whether it needs a Broker;
    sleep: on the laptop, after how many seconds without a request user and rule sleep (0: never).
    """

    title: str
    learn: str
    look: str
    think: str
    places: tuple[PlaceName, ...]
    elsewhere: Mapping[PlaceName, str] = field(default_factory=dict)
    failures: str = ""
    certificates: bool = False
    broker: bool = False
    sleep: int = 0


@dataclass(frozen=True)
class Lesson:
    """A lesson. folder: by its name it is known, such as 01-split; run: its check, which proves what it changes."""

    folder: Path
    about: About
    run: Callable[[Any], None]

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def number(self) -> int:
        return int(self.name.partition("-")[0])

    def change(self, place: PlaceName, step: str = "") -> Path:
        """Return the file with what the lesson changes in a place: its first change, or that of a later step.

        Ambient mode is Istio, too: without a file of its own it takes that of Istio.
        """
        kind = "envoy" if place == "laptop" else place
        file = self.folder / f"{kind}{f'-{step}' if step else ''}.yaml"
        return self.change("istio", step) if place == "ambient" and not file.exists() else file


def every() -> list[Lesson]:
    """Return all lessons, in their order."""
    lessons = []
    for path in sorted(FOLDER.glob("[0-9]*/check.py")):
        found = runpy.run_path(str(path))
        lessons.append(Lesson(path.parent, found["ABOUT"], found["run"]))
    return lessons


def find(wanted: str) -> Lesson | None:
    """Return a lesson by its number or its name, with or without the number, in either case."""
    wanted = wanted.strip().lower()
    for lesson in every():
        if wanted in (lesson.name, lesson.name.partition("-")[2]) or wanted.lstrip("0") == str(lesson.number):
            return lesson
    return None
