"""What `make` does with the riddles: begin one, take answers, give hints, reveal, and put everything back.

They run where lessons do: `make run` in this folder if it is on, else the cluster that kubectl points at.
"""

import os
import random
import re
import subprocess
import sys
import time
import unicodedata
from collections.abc import Mapping
from dataclasses import replace

from lessons.runner.check import PASSWORD, Check, Person
from lessons.runner.command import PLACES, carry_out
from lessons.runner.difference import WIDTH, indentation, is_comment, wrap
from lessons.runner.laptop import Laptop
from lessons.runner.locate import find_place
from lessons.runner.place import Place, UnsuitableError
from lessons.runner.waiting import wait_until
from riddles.runner import beside, evidence, state
from riddles.runner import riddle as riddles
from riddles.runner.riddle import Riddle, Text
from riddles.runner.state import Played
from riddles.runner.words import Verdict, judge

# Some complaints come from users with names. They exist in every riddle, so that their accounts are no hint.
USERS = ("lesson-alice", "lesson-bob")
RESET = "make riddle-reset"
TOOLS = {
    "laptop": "the page at {url}, `make status`, `make traffic`, Envoy's counters at {admin}/stats (they count "
    "since `make run` began), and what `make run` prints",
    "cluster": "the page (`make url`), `make status`, `make traffic`, `make kiali`, `make logs`, traces, and istioctl",
}
VERDICTS = {
    Verdict.PARTLY: "A part of it is right, and there is more: an answer names all that is wrong.",
    Verdict.SYMPTOM: "Not yet: that is what happens. An answer names what makes it so: which setting of which part.",
    Verdict.UNCLEAR: 'Not yet: say where and what, in words such as slow: ANSWER="todolist is slow for guests".',
    Verdict.WRONG: "Wrong.",
}


def main(command: str, name: str = "") -> int:
    """Carry out a command and return the exit code. name: of the riddle to seal or unseal."""
    if command in ("seal", "unseal"):
        return rewrite(command, name)
    actions = {"play": lambda: play(os.environ), "reset": reset}
    return carry_out({"play": "make riddle", "reset": RESET}[command], actions[command], RESET)


def rewrite(command: str, name: str) -> int:
    """Print the truth of a riddle, or seal the one on standard input."""
    path = riddles.FOLDER / name / riddles.SEALED
    if command == "unseal":
        print(riddles.unseal(path.read_text("ascii")), end="")
    else:
        text = sys.stdin.read()
        riddles.parse(text)
        path.write_text(riddles.seal(text), encoding="ascii")
    return 0


def play(settings: Mapping[str, str]) -> int:
    """Do what the settings say: N, ANSWER, HINT=1, REVEAL=1; without any begin a riddle, or say which one is on."""
    wanted = settings.get("N", "")
    riddle = riddles.find(wanted) if wanted else None
    if wanted and not riddle:
        raise UnsuitableError(f"There is no riddle {wanted}: they have the numbers 1 to {len(riddles.every())}")
    place = find_place()
    current = on_in(place)
    wishes = [name for name in ("ANSWER", "HINT", "REVEAL") if is_set(settings, name)]
    if len(wishes) > 1:
        raise UnsuitableError(f"{' and '.join(wishes)} at once: choose one of them")
    if not wishes:
        return begin(place, riddle, current)
    if not current:
        raise UnsuitableError("No riddle is on (it also ends with `make run`): `make riddle` begins one")
    if riddle and riddle.name != current.name:
        raise UnsuitableError(f"Riddle {current.number} is on, not {riddle.number}")
    act = {"ANSWER": lambda: answer(place, current, settings["ANSWER"]), "HINT": lambda: hint(place, current),
           "REVEAL": lambda: reveal(place, current)}  # fmt: skip
    return act[wishes[0]]()


def is_set(settings: Mapping[str, str], name: str) -> bool:
    """Say whether a setting is there; an empty ANSWER is an answer, too. Raises UnsuitableError if others are not 1."""
    value = settings.get(name)
    if name == "ANSWER":
        return value is not None
    if value not in (None, "", "0", "1"):
        more = "; each HINT=1 gives the next one" if name == "HINT" else ""
        raise UnsuitableError(f"{name} is {value}: it can be 1, or unset{more}")
    return value == "1"


def on_in(place: Place) -> Riddle | None:
    """Return the riddle that is on. Raises UnsuitableError while a lesson is."""
    name = place.current()
    if name and not name.startswith("riddle-"):
        raise UnsuitableError(f"Lesson {name} is on: `make lesson-reset` ends it, and then `make riddle` begins one")
    return riddles.find(name) if name else None


def begin(place: Place, wanted: Riddle | None, current: Riddle | None) -> int:
    """Begin a riddle, one that was not solved here unless one is wanted; while one is on, say what it is."""
    if current:
        played = state.played(current.name, place.name)
        if not played.ended:
            if wanted and wanted.name != current.name:
                raise UnsuitableError(
                    f"Riddle {current.number} is on: answer it, or end it with `{RESET}`, before the next one"
                )
            print(f"Riddle {current.number} is on, for {minutes(played)} now.\n")
            show_complaint(place, current)
            return 0
        print(f"Riddle {current.number} is over, and everything is put back first.\n")
        put_back(place)
    riddle = wanted or choose(place)
    if place.name not in riddle.truth.places:
        there = ", ".join(str(one.number) for one in riddles.every() if place.name in one.truth.places)
        raise UnsuitableError(f"Riddle {riddle.number} is not there for {PLACES[place.name]}. These are: {there}")
    put_back(place)
    with place.client() as client:
        for name in USERS:
            Person(client, name, place)
            client.cookies.clear()
    place.apply(riddle.as_lesson())
    if riddle.truth.beside:
        start_beside(riddle)
    state.keep(Played(riddle.name, place.name, time.time()))
    print(f"Riddle {riddle.number}, on {place.description}. The clock runs.\n")
    show_complaint(place, riddle)
    return 0


def choose(place: Place) -> Riddle:
    """Return a riddle that was not solved here, by chance. Raises UnsuitableError when all were."""
    here = [riddle for riddle in riddles.every() if place.name in riddle.truth.places]
    solved = state.read().solved
    if not (left := [riddle for riddle in here if riddle.name not in solved]):
        raise UnsuitableError(f"All {len(here)} riddles are solved here. `make riddle N=1` begins one again")
    return random.choice(left)  # noqa: S311 - no secret


def start_beside(riddle: Riddle) -> None:
    """Start what works beside the services. It ends by itself."""
    if not beside.DATABASE.exists():
        put_back(find_place())
        raise UnsuitableError("This riddle needs the SQLite files in data/, and this run has another database")
    command = (sys.executable, "-m", "riddles.runner.beside", riddle.name)
    nothing = subprocess.DEVNULL
    # It inherits no pipe: `make riddle | tee` would wait until it ends.
    subprocess.Popen(command, stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True)  # noqa: S603
    wait_until(lambda: not beside.has_ended(), "the riddle is on")


def show_complaint(place: Place, riddle: Riddle) -> None:
    """Print what users complain about, and what there is to find out more."""
    print("Users complain:")
    show_text(riddle.complaint)
    tools = TOOLS["laptop"].format(**place.addresses()) if isinstance(place, Laptop) else TOOLS["cluster"]
    print("\n".join(["", *wrap(f"You have {tools}.", rest="  ")]))
    print("\n".join(wrap(f"{' and '.join(USERS)} can log in; the password of both is {PASSWORD}.", rest="  ")))
    print('\nmake riddle ANSWER="where, and what"   says right or wrong')
    print("make riddle HINT=1                     gives the next hint, which counts")
    print("make riddle REVEAL=1                   gives up, and prints the solution")


def answer(place: Place, riddle: Riddle, text: str) -> int:
    """Say whether an answer is right, and if it is, show what proves it."""
    if not text.strip():
        raise UnsuitableError('The answer is empty: make riddle ANSWER="where, and what"')
    played = state.played(riddle.name, place.name)
    if played.ended:
        print(f"Riddle {riddle.number} has ended; its fault stays on until `{RESET}`. `make riddle` begins another.")
        return 0
    played = replace(played, answers=played.answers + 1)
    verdict = judge(text, riddle.truth.findings)
    if verdict is not Verdict.RIGHT:
        state.keep(played)
        print(f"{VERDICTS[verdict]} `make riddle HINT=1` gives a hint, which counts.")
        return 0
    played = replace(played, ended=time.time())
    state.keep(played)
    # Flushed, as measuring takes a while.
    print("Right:", flush=True)
    solve(place, riddle, played)
    return 0


def hint(place: Place, riddle: Riddle) -> int:
    """Give the next hint."""
    played = state.played(riddle.name, place.name)
    if played.hints == len(riddle.truth.hints):
        print(f"There are only {played.hints} hints, and here is the last of them again:")
        show_text(riddle.truth.hints[-1])
        return 0
    state.keep(replace(played, hints=played.hints + 1) if not played.ended else played)
    print(f"Hint {played.hints + 1} of {len(riddle.truth.hints)}:")
    show_text(riddle.truth.hints[played.hints])
    return 0


def reveal(place: Place, riddle: Riddle) -> int:
    """Tell the truth, and what proves it. The riddle is not solved."""
    played = state.played(riddle.name, place.name)
    if not played.ended:
        played = replace(played, ended=time.time(), revealed=True)
        state.keep(played)
    print(f"Riddle {riddle.number}:")
    solve(place, riddle, played)
    return 0


def solve(place: Place, riddle: Riddle, played: Played) -> None:
    """Print the solution, and the line to paste."""
    show_text(riddle.truth.kind)
    print()
    explain(place, riddle)
    print(f"\nTo paste: {result(played)}")
    print(f"The fault stays on, to look at it: `{RESET}` puts everything back.")


def explain(place: Place, riddle: Riddle) -> None:
    """Print the solution, the figures of this run that prove it, its YAML, and the lesson that fixes it."""
    show_text(riddle.truth.truth)
    if riddle.truth.stand_in and place.name == "laptop":
        show_text(riddle.truth.stand_in)
    print("\nWhat gives it away, measured just now:")
    holds(place, riddle)
    print()
    show_made_by(place, riddle)
    number = riddle.truth.lesson.partition("-")[0].lstrip("0")
    print(f"\nThe lesson for it: `make lesson N={number}`, lessons/{riddle.truth.lesson}/README.md")
    show_text(riddle.truth.mends)


def holds(place: Place, riddle: Riddle, *, with_change: bool = True) -> bool:
    """Measure what proves the truth, with a line for each figure, and say whether it holds.

    with_change False: nothing is wrong at the moment, so that nothing is waited for.
    """
    with Check(place, riddle.as_lesson(), with_change=with_change) as check:
        for name, arguments in riddle.truth.evidence.items():
            evidence.MEASURES[name](check, **arguments)
    return not check.failures


def show_made_by(place: Place, riddle: Riddle) -> None:
    """Print the lines of the YAML that made the fault."""
    path = riddle.as_lesson().change(place.name)
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8").splitlines()
    print(f"What made it, from {path.relative_to(riddles.FOLDER.parent)}:")
    for number, wanted in enumerate(riddle.truth.made_by.get(path.stem, [])):
        if number:
            print("    …")
        print("\n".join(f"    {line}" for line in block(lines, wanted)))


def block(lines: list[str], wanted: str) -> list[str]:
    """Return the first line with a text, and what stands below it."""
    begin_at = next(number for number, line in enumerate(lines) if wanted in line and not is_comment(line))
    end = begin_at + 1
    while end < len(lines) and lines[end].strip() and indentation(lines[end]) > indentation(lines[begin_at]):
        end += 1
    return [line[indentation(lines[begin_at]) :] for line in lines[begin_at:end]]


def result(played: Played) -> str:
    """Return a line that can be pasted."""
    how = "revealed after" if played.revealed else "solved in"
    answers = "" if played.revealed else f", {count(played.answers, 'answer')}"
    return f"{played.name} ({PLACES[played.place]}): {how} {minutes(played)}, {count(played.hints, 'hint')}{answers}"


def minutes(played: Played) -> str:
    """Return how long a riddle took, in words."""
    return count(played.minutes, "minute")


def count(number: int, what: str) -> str:
    """Return a number of things in words."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def reset() -> int:
    """Put everything back."""
    place = find_place()
    current = on_in(place)
    put_back(place)
    said = f"Riddle {current.number} is over." if current else "No riddle was on."
    print(f"{place.description}: as it was started. {said}")
    return 0


def put_back(place: Place) -> None:
    """Put everything back, and wait until nothing works beside the services any more."""
    place.reset()
    if place.name == "laptop":
        wait_until(beside.has_ended, "nothing works beside the services any more")
    state.keep(None)


def show_text(text: Text) -> None:
    """Print a text in both languages, so that it fits into a narrow terminal."""
    print("\n".join(wrap(text["en"], "  ", rest="  ")))
    print("\n".join(wrap_wide(text["zh"], "  ")))


def wrap_wide(text: str, indent: str) -> list[str]:
    """Return a Chinese text in lines that fit; one begins with no punctuation, and within no Latin word."""
    lines, width = [indent], len(indent)
    for token in re.findall(r"[（“]*(?:[!-~]+|[^!-~])[，。；：、？！”）]*", text):
        columns = sum(2 if unicodedata.east_asian_width(letter) in "WFA" else 1 for letter in token)
        if width + columns > WIDTH:
            lines.append(indent)
            width = len(indent)
        lines[-1] += token if width > len(indent) else token.lstrip()
        width += columns
    return [line.rstrip() for line in lines]
