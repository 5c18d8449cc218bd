"""The finding of a check: its state, the purposes that need it, and a fix.

These modules run before `.venv` exists, on any Python from 3.9: only the standard library, and nothing newer
than Python 3.9.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable
from typing import NamedTuple

# Docker's last line of an error, after the one that says what is wrong.
PRETTY = "errors pretty printing info"

# ok; note: works with a limitation; missing: the purposes that need it do not work.
OK, NOTE, MISSING = "ok", "note", "missing"

# The purposes of a machine and a cluster, as the table shows them.
RUN, TEST, IMAGES, ISTIO, AMBIENT, KNATIVE, KIALI = PURPOSES = (
    "make run",
    "make test",
    "images",
    "Istio",
    "ambient",
    "Knative",
    "Kiali",
)
IN_CLUSTER = (ISTIO, AMBIENT, KNATIVE, KIALI)


class Finding(NamedTuple):
    """A row of the table.

    subject: what was checked; found: a complete message; good_for: the purposes that need it; fix: the command or step
    that fixes it, or "".
    """

    subject: str
    state: str
    found: str
    good_for: tuple[str, ...] = ()
    fix: str = ""

    def __str__(self) -> str:
        """Return it for a command that fails because of it: in one line, but after the lines of another program."""
        separator = "\n-> " if "\n" in self.found else ": "
        return f"{self.found}{separator}{self.fix}" if self.fix else self.found


def said(*command: str, timeout: float = 20) -> tuple[bool, str]:
    """Run a program; return whether it succeeded, and its output or, on failure, the last line of its errors."""
    try:
        done = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, timeout=timeout, check=False, stdin=subprocess.DEVNULL,
            encoding="utf-8", errors="replace",
        )  # fmt: skip
    except FileNotFoundError:
        return False, f"{command[0]} is not there"
    except OSError as error:
        return False, f"{command[0]} cannot be run: {error.strerror}"
    except subprocess.TimeoutExpired:
        return False, f"{command[0]} did not answer for {timeout:.0f} s"
    if done.returncode == 0:
        return True, done.stdout.strip()
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip() not in ("", PRETTY)]
    lines = lines or done.stdout.strip().splitlines() or [f"it ended with exit code {done.returncode}"]
    return False, lines[-1].strip()


def minor(version: str) -> tuple[int, int]:
    """Return the first two numbers of a version such as v1.34.2-gke.7 or 1.36+; 0 for missing ones."""
    found = re.match(r"v?(\d*)\.?(\d*)", version.strip())
    return (int(found[1] or 0), int(found[2] or 0)) if found else (0, 0)


def listed(words: Iterable[object]) -> str:
    """Join words as an English list: a, b and c."""
    *others, last = [str(word) for word in words]
    return f"{', '.join(others)} and {last}" if others else last


def reply(findings: Iterable[Finding], answer: str = "") -> int:
    """Return the exit code for a script: print the first finding that is MISSING (1), or else the answer (0)."""
    for finding in findings:
        if finding.state == MISSING:
            print(finding, file=sys.stderr)
            return 1
    if answer:
        print(answer)
    return 0
