"""The riddle that is on, as this folder knows it: since when, how many hints; and which were solved."""

import json
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from deploy.local import files

FILE = Path("data/riddles.json")


@dataclass(frozen=True)
class Played:
    """A riddle that was begun here.

    began: in seconds since 1970; ended: when it was solved or revealed, 0 until then.
    """

    name: str
    place: str
    began: float
    hints: int = 0
    answers: int = 0
    ended: float = 0
    revealed: bool = False

    @property
    def minutes(self) -> int:
        """How long it took, or has taken so far; whole minutes, at least one."""
        return max(1, round(((self.ended or time.time()) - self.began) / 60))


@dataclass(frozen=True)
class Memory:
    """What is known here. current: the riddle that was begun last; solved: the names of those that were solved."""

    current: Played | None = None
    solved: list[str] = field(default_factory=list)


def read() -> Memory:
    """Return what is known."""
    try:
        found = json.loads(FILE.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Memory()
    return Memory(Played(**found["current"]) if found["current"] else None, found["solved"])


def write(memory: Memory) -> None:
    """Keep what is known."""
    FILE.parent.mkdir(exist_ok=True)
    files.replace(FILE, json.dumps(asdict(memory)))


def played(name: str, place: str) -> Played:
    """Return the riddle that is on. One that was begun elsewhere, in a shared cluster, begins for this folder now."""
    current = read().current
    if current and (current.name, current.place) == (name, place):
        return current
    fresh = Played(name, place, time.time())
    keep(fresh)
    return fresh


def keep(current: Played | None) -> None:
    """Keep what has become of the riddle that is on; None: none is."""
    memory = read()
    if current and current.ended and not current.revealed:
        memory = replace(memory, solved=sorted({*memory.solved, current.name}))
    write(replace(memory, current=current))
