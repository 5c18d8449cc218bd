"""What `make` does with the lessons: list, start, reset, check.

They run where the application does: `make run` in this folder if it is on, else the cluster that kubectl points at.
"""

import fcntl
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import httpx

from deploy.local import files, proxy
from lessons.runner import lesson as lessons
from lessons.runner.check import Check
from lessons.runner.difference import essence, marks, words, wrap
from lessons.runner.knative import Knative
from lessons.runner.lesson import Lesson
from lessons.runner.locate import find_place
from lessons.runner.place import Place, UnsuitableError

LOCK = Path(".build/lesson.lock")
PLACES = {"laptop": "laptop", "istio": "Istio", "ambient": "ambient", "knative": "Knative"}


def main(command: str, wanted: str = "", diff: str = "") -> int:
    """Carry out a command and return the exit code. wanted: a lesson; diff: "all" shows all that it changes."""
    doing, action = {
        "list": ("", show_list),
        "start": (f"make lesson N={wanted}", lambda: start(wanted, diff)),
        "reset": ("make lesson-reset", reset),
        "check": ("make lessons-check", check_all),
    }[command]
    return carry_out(doing, action, "make lesson-reset")


def carry_out(doing: str, action: Callable[[], int], resetting: str) -> int:
    """Run an action, with the lock if it changes the mesh, and return the exit code. Errors are printed.

    doing: the command of the user, or "" if it changes nothing; resetting: the command that undoes it.
    """
    try:
        with alone(doing) if doing else nullcontext():
            code = action()
        # Here, not when Python ends, so that a failure is met below.
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader, such as `head`, has ended. The rest goes to /dev/null, or Python would fail at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except UnsuitableError as error:
        print(error, file=sys.stderr)
    except TimeoutError as error:
        print(f"This takes too long, and ends here: {error}. `{resetting}` puts everything back.", file=sys.stderr)
    except httpx.HTTPError as error:
        print(f"The application does not answer: {error}. `{resetting}` puts everything back.", file=sys.stderr)
    except OSError as error:
        print(files.unwritable(error), file=sys.stderr)
    except KeyboardInterrupt:
        # A reset is left to the user, who may want to look at what was changed so far.
        print(f"\nStopped. `{resetting}` puts everything back; so does the next start.", file=sys.stderr)
        return 130
    return 1


@contextmanager
def alone(doing: str) -> Iterator[None]:
    """Let no other lesson be started or ended from this folder meanwhile. Raises UnsuitableError while one is."""
    LOCK.parent.mkdir(exist_ok=True)
    with LOCK.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise UnsuitableError(
                f"`{file.read() or 'make lesson'}` is at work in another terminal, and two at once would disturb each "
                "other, in two namespaces too: both write to this folder's .build/. Wait for its end, press Ctrl-C "
                "there, or use a second checkout"
            ) from None
        with files.named(LOCK):
            file.truncate(0)
            file.write(doing)
            file.flush()
        yield


def show_list() -> int:
    """Print all lessons, where they run, and which one is on."""
    place, why = None, ""
    try:
        place = find_place()
    except UnsuitableError as error:
        why = str(error)
    current = place.current() if place else None
    for lesson in lessons.every():
        places = ", ".join(PLACES[name] for name in lesson.about.places)
        mark = "*" if lesson.name == current else " "
        print(f"{mark} {lesson.number:>2}  {lesson.about.title:<22} ({places})")
        print("\n".join(wrap(lesson.about.learn, "      ")))
    print()
    print(f"{place.description}: {on(current)}" if place else why)
    return 0


def start(wanted: str, diff: str = "") -> int:
    """Show what a lesson changes, change it, check it, and say what to look at. diff: "all" shows all of it."""
    lesson = lessons.find(wanted)
    if not lesson:
        raise UnsuitableError(
            f"There is no lesson {wanted}: `make lessons` lists them" if wanted else "Which one? make lesson N=1"
        )
    if diff not in ("", "all"):
        raise UnsuitableError(f"DIFF is {diff}: it can be all, or unset")
    place = find_place()
    print(f"Lesson {lesson.number}, {lesson.about.title}, on {place.description}\n")
    refuse_elsewhere(lesson, place)
    if current := refuse_in_a_riddle(place):
        print(f"{proxy.called(current)} was on, and is reset first.\n")
    place.reset()
    show_change(place, lesson, everything=diff == "all")
    place.apply(lesson)
    print("Applied. Checking it:\n")
    is_right = passes(place, lesson)
    print("\n".join(["", *wrap(f"Look: {lesson.about.look}", "")]))
    answer = f"The answer is at the end of lessons/{lesson.name}/README.md"
    print("\n".join(["", *wrap(f"Think: {lesson.about.think}"), f"  {answer}"]))
    if place.current():
        print("\nThe lesson stays on: `make lesson-reset` puts everything back.")
    else:
        print("\nThe lesson is over, and everything is as it was before.")
    return 0 if is_right else 1


def refuse_in_a_riddle(place: Place) -> str | None:
    """Return the name of the lesson that is on. Raises UnsuitableError while a riddle is."""
    current = place.current()
    if proxy.is_riddle(current):
        raise UnsuitableError(
            f"{proxy.called(current)} is on: `make riddle-reset` ends it, and then a lesson can begin"
        )
    return current


def show_change(place: Place, lesson: Lesson, *, everything: bool) -> None:
    """Print what a lesson is about to change: what its file marks, or everything."""
    if not (difference := place.difference(lesson)):
        print("What changes: nothing, this lesson looks at what is there.\n")
        return
    text, others = essence(difference, marks(place.change(lesson)))
    path = lesson.change(place.name)
    source = f"from {path.relative_to(lessons.FOLDER.parent)}"
    if not path.exists():
        source = f"as with SLEEP={lesson.about.sleep}: after so many seconds without a request user and rule sleep"
    if everything or not text:
        text, others = place.difference(lesson, comments=True).rstrip("\n"), 0
    else:
        source += "; what matters first"
    print("\n".join([*wrap(f"What changes, {source}:", rest="  "), "", text, ""]))
    if explained := words(text):
        print(f"Words in it:\n{explained}\n")
    if others:
        lines = "One other line changes" if others == 1 else f"{others} other lines change"
        print("\n".join(wrap(f"{lines}, too: `make lesson N={lesson.number} DIFF=all` shows all of it.")) + "\n")


def refuse_elsewhere(lesson: Lesson, place: Place) -> None:
    """Raise UnsuitableError when a lesson cannot run in a place."""
    if place.name not in lesson.about.places:
        where = ", ".join(PLACES[name] for name in lesson.about.places)
        why = lesson.about.elsewhere.get(place.name, "It is not written for this place yet.")
        raise UnsuitableError(f"This lesson cannot run here ({PLACES[place.name]}). {why} It can run here: {where}.")
    if lesson.about.broker and isinstance(place, Knative) and not place.has_broker():
        raise UnsuitableError(
            "This lesson needs a Broker: `make install-knative` installs Knative Eventing, and then `make deploy "
            "TARGET=knative` the Broker"
        )


def passes(place: Place, lesson: Lesson, *, with_change: bool = True) -> bool:
    """Run a lesson's check, which prints its lines, and return whether all of it holds."""
    with Check(place, lesson, with_change=with_change) as check:
        lesson.run(check)
    return not check.failures


def reset() -> int:
    """Put everything back."""
    place = find_place()
    current = place.current()
    place.reset()
    over = f"{proxy.called(current)} is over." if current else "No lesson was on."
    print(f"{place.description}: as it was started. {over}")
    return 0


def check_all() -> int:
    """Run all lessons that this place can run, each with a reset, and print a table."""
    place = find_place()
    results: dict[str, str] = {}
    refuse_in_a_riddle(place)
    place.reset()
    for lesson in lessons.every():
        try:
            refuse_elsewhere(lesson, place)
        except UnsuitableError:
            results[lesson.name] = "not here"
            continue
        print(f"\nLesson {lesson.number}, {lesson.about.title}")
        try:
            place.apply(lesson)
            results[lesson.name] = "passed" if passes(place, lesson) else "FAILED"
        finally:
            place.reset()
    print(f"\n{place.description}")
    for name, result in results.items():
        print(f"  {name:<24} {result}")
    return 1 if "FAILED" in results.values() else 0


def on(current: str | None) -> str:
    """Return a sentence about the lesson that is on."""
    if proxy.is_riddle(current):
        return f"{proxy.called(current)} is on; `make riddle-reset` ends it"
    return f"lesson {current} is on; `make lesson-reset` ends it" if current else "no lesson is on"
