"""The lessons: `python -m deploy.lessons list | start N | reset | check`, which `make` calls.

They run where the application does: `make run` in this folder if it is on, else the cluster that kubectl points at.
"""

import sys

from deploy.lessons import lesson as lessons
from deploy.lessons.check import Check
from deploy.lessons.finding import find_place
from deploy.lessons.lesson import Lesson
from deploy.lessons.place import Place, UnsuitableError

PLACES = {"laptop": "laptop", "istio": "Istio", "ambient": "ambient", "knative": "Knative"}


def main(command: str, wanted: str = "") -> int:
    """Carry out a command and return the exit code."""
    try:
        if command == "start":
            return start(wanted)
        return {"list": show_list, "reset": reset, "check": check_all}[command]()
    except UnsuitableError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        # A reset is left to people: they may want to look at what the lesson has changed so far.
        print("\nStopped. `make lesson-reset` puts everything back; so does the next lesson.", file=sys.stderr)
        return 130


def show_list() -> int:
    """Print all lessons, where they run, and which one is on."""
    try:
        place: Place | None = find_place()
    except UnsuitableError:
        place = None
    current = place.current() if place else None
    for lesson in lessons.every():
        places = ", ".join(PLACES[name] for name in lesson.about.places)
        mark = "*" if lesson.name == current else " "
        print(f"{mark} {lesson.number:>2}  {lesson.about.title:<22} {lesson.about.learn} ({places})")
    print()
    print(f"{place.description}: {on(current)}" if place else "Nothing runs yet: `make run` starts it on this machine")
    return 0


def start(wanted: str) -> int:
    """Show what a lesson changes, change it, check it, and say what to look at."""
    lesson = lessons.find(wanted)
    if not lesson:
        raise UnsuitableError(
            f"There is no lesson {wanted}: `make lessons` lists them" if wanted else "Which one? make lesson N=1"
        )
    place = find_place()
    print(f"Lesson {lesson.number}, {lesson.about.title}, on {place.description}\n")
    refuse_elsewhere(lesson, place)
    if current := place.current():
        print(f"Lesson {current} was on, and is reset first.\n")
    place.reset()
    if difference := place.difference(lesson):
        print(f"What changes, from {lesson.change(place.name).relative_to(lessons.FOLDER.parent)}:\n\n{difference}")
    else:
        print("What changes: nothing, this lesson looks at what is there.\n")
    place.apply(lesson)
    print("It is in force. Checking it:\n")
    is_right = passes(place, lesson)
    print(f"\nLook: {lesson.about.look}")
    print(f"\nThink: {lesson.about.think}\n       The answer is at the end of lessons/{lesson.name}/README.md")
    if place.current():
        print("\nThe lesson stays on: `make lesson-reset` puts everything back.")
    else:
        print("\nThe lesson is over, and everything is as it was before.")
    return 0 if is_right else 1


def refuse_elsewhere(lesson: Lesson, place: Place) -> None:
    """Raise UnsuitableError when a lesson cannot run in a place."""
    if place.name not in lesson.about.places:
        where = ", ".join(PLACES[name] for name in lesson.about.places)
        why = lesson.about.elsewhere.get(place.name, "Nobody has written it for this place yet.")
        raise UnsuitableError(f"This lesson cannot run here ({PLACES[place.name]}). {why} It can run here: {where}.")


def passes(place: Place, lesson: Lesson, *, with_change: bool = True) -> bool:
    """Run a lesson's check, which prints its lines, and say whether all of it holds."""
    with Check(place, lesson, with_change=with_change) as check:
        lesson.run(check)
    return not check.failures


def reset() -> int:
    """Put everything back."""
    place = find_place()
    current = place.current()
    place.reset()
    print(f"{place.description}: as it was started. {f'Lesson {current} is over.' if current else 'No lesson was on.'}")
    return 0


def check_all() -> int:
    """Run all lessons that this place can run, each with a reset, and print a table."""
    place = find_place()
    results: dict[str, str] = {}
    place.reset()
    for lesson in lessons.every():
        if place.name not in lesson.about.places:
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
    return f"lesson {current} is on; `make lesson-reset` ends it" if current else "no lesson is on"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
