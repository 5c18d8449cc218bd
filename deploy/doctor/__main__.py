"""`make doctor`: checks this machine and, if there is one, the cluster, and prints a table.

    python -m deploy.doctor                the table; the exit code is 0 if `make run` works
    python -m deploy.doctor check NAME...  only problems; the exit code is 1 if something is missing

All make targets use the same checks.
"""

from __future__ import annotations

import shutil
import signal
import sys
import textwrap
from typing import TYPE_CHECKING

from deploy import interrupts
from deploy.doctor import access
from deploy.doctor.checks import CLUSTER, MACHINE, found_by, results
from deploy.doctor.finding import MISSING, NOTE, OK, PURPOSES, RUN, Finding

if TYPE_CHECKING:
    from deploy.doctor.checks import Check

COLOURS = {OK: "\033[32m", NOTE: "\033[33m", MISSING: "\033[31m"}


def look() -> list[Finding]:
    """Print the table, and return the findings."""
    found = show("This machine", MACHINE)
    if not shutil.which("kubectl"):
        return found
    # All checks use the same context: CONTEXT=, or the current one.
    access.pin()
    first = show("The cluster", {name: CLUSTER[name] for name in ("kubectl", "cluster")})
    if any(each.state == MISSING for each in first):
        return found + first
    rest = {name: check for name, check in CLUSTER.items() if name not in ("kubectl", "cluster")}
    return found + first + show("", rest)


def show(title: str, checks: dict[str, Check]) -> list[Finding]:
    """Run checks, and print each result at once."""
    width = max(72, min(110, shutil.get_terminal_size((100, 24)).columns))
    if title:
        print(f"\n{title}")
    found = []
    for check in checks.values():
        for each in results(check):
            found.append(each)
            state = f"{COLOURS[each.state]}{each.state:<7}\033[0m" if sys.stdout.isatty() else f"{each.state:<7}"
            what, *more = each.found.splitlines()
            what = "\n".join((f"{what}   [{', '.join(each.good_for)}]", *more))
            first, *others = wrapped(f"{what}\n-> {each.fix}" if each.fix else what, width - 26)
            print(f"  {state}  {each.subject:<14} {first}", flush=True)
            for line in others:
                print(f"{'':26}{line}")
    return found


def wrapped(text: str, width: int) -> list[str]:
    """Wrap a text; words are not broken, so that commands can be copied."""
    lines = text.splitlines()
    return [
        part for line in lines for part in textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False)
    ]


def conclude(found: list[Finding]) -> None:
    """Print for each purpose whether it works, and what is missing."""
    print("\nWhat works")
    looked_at_cluster = any(each.subject == "cluster" and each.state == OK for each in found)
    for purpose in PURPOSES:
        lacking = [each.subject for each in found if each.state == MISSING and purpose in each.good_for]
        notes = [each.subject for each in found if each.state == NOTE and purpose in each.good_for]
        if purpose in PURPOSES[3:] and not looked_at_cluster and not lacking:
            lacking = ["cluster"]
        answer = f"no: {', '.join(dict.fromkeys(lacking))}" if lacking else "yes"
        if notes and not lacking:
            answer += f", but see {', '.join(dict.fromkeys(notes))}"
        print(f"  {purpose:<10} {answer}")


def main(command: str = "", *names: str) -> int:
    """Run a command and return the exit code."""
    if command == "check":
        found = [each for each in found_by(names) if each.state != OK]
        for each in found:
            print(each, file=sys.stderr)
        return any(each.state == MISSING for each in found)
    found = look()
    conclude(found)
    return any(each.state == MISSING and RUN in each.good_for for each in found)


if __name__ == "__main__":
    interrupts.exit_silently()
    # `make doctor | head` exits silently.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    interrupts.raise_keyboard_interrupt()
    try:
        sys.exit(main(*sys.argv[1:]))
    except KeyboardInterrupt:
        # Not at once: exit handlers remove the file of access.pin.
        sys.exit(130)
