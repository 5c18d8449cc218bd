"""A riddle: a folder under `riddles/` with a complaint, the fault as YAML for each place, and the sealed truth.

The truth is YAML, compressed and in base64, so that it is not read by accident: no search finds a word of it.
"""

import base64
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lessons.runner.lesson import About, Lesson, PlaceName
from riddles.runner.words import Finding

FOLDER = Path(__file__).parents[1]
SEALED = "sealed.txt"
COLUMNS = 100

# A text in both languages, by "en" and "zh".
Text = dict[str, str]


@dataclass(frozen=True)
class Truth:
    """What is sealed.

    places: where the riddle runs; kind: what it is, in a few words; truth: what is wrong, and how it shows;
    findings: what an answer has to name; right, wrong: answers that are so, for the tests; hints: the first says least;
    evidence: the measures of evidence.py that prove it, with their arguments; made_by: for envoy, istio and so on which
    lines of its YAML matter, by a text in the first of them; lesson: the one that mends it, and mends: how; sleep: as
    in a lesson; beside: what runs beside the services (beside.py); stand_in: what Envoy cannot do, and what does it.
    """

    places: list[PlaceName]
    kind: Text
    truth: Text
    findings: list[Finding]
    right: list[str]
    wrong: list[str]
    hints: list[Text]
    evidence: dict[str, dict[str, Any]]
    made_by: dict[str, list[str]]
    lesson: str
    mends: Text
    sleep: int = 0
    beside: str = ""
    stand_in: Text = field(default_factory=dict)


@dataclass(frozen=True)
class Riddle:
    """A riddle. folder: by its name it is known, such as riddle-07; the name says nothing else."""

    folder: Path
    truth: Truth

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def number(self) -> int:
        return int(self.name.rpartition("-")[2])

    @property
    def complaint(self) -> Text:
        """What users complain about."""
        names = {"en": "complaint.txt", "zh": "complaint.zh-CN.txt"}
        return {language: (self.folder / name).read_text(encoding="utf-8").strip() for language, name in names.items()}

    def as_lesson(self) -> Lesson:
        """Return its change in the form in which a place makes it."""
        about = About(title="", learn="", look="", think="", places=tuple(self.truth.places), sleep=self.truth.sleep)
        return Lesson(self.folder, about, lambda _: None)


def every() -> list[Riddle]:
    """Return all riddles, in their order."""
    return [Riddle(path.parent, parse(unseal(path.read_text("ascii")))) for path in sorted(FOLDER.glob(f"*/{SEALED}"))]


def find(wanted: str) -> Riddle | None:
    """Return a riddle by its number or its name."""
    number = wanted.strip().lower().removeprefix("riddle-").lstrip("0")
    return next((riddle for riddle in every() if str(riddle.number) == number), None)


def parse(text: str) -> Truth:
    """Return what the YAML of a truth says. Raises TypeError for a field that is missing or that there is not."""
    fields = yaml.safe_load(text)
    return Truth(**{**fields, "findings": [Finding(**finding) for finding in fields["findings"]]})


def seal(text: str) -> str:
    """Return a text in a form that is not read by accident."""
    packed = base64.b64encode(zlib.compress(text.encode(), 9)).decode("ascii")
    lines = [packed[start : start + COLUMNS] for start in range(0, len(packed), COLUMNS)]
    return "\n".join(lines) + "\n"


def unseal(text: str) -> str:
    """Return the text that was sealed."""
    return zlib.decompress(base64.b64decode(text)).decode()
