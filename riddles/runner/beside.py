"""Runs beside the services of `make run` while a riddle is on: `python -m riddles.runner.beside riddle-07`.

It does what no proxy can do, by the name that the sealed truth has for it, and ends with the riddle or with the run.
"""

import fcntl
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

from deploy.local import here, proxy
from riddles.runner import riddle as riddles

LOCK = Path("data/beside.lock")
DATABASE = Path("data/rule.db")
# Seconds.
HELD, FREE = 0.7, 0.15


def is_on(name: str) -> bool:
    """Say whether the riddle is still on."""
    return proxy.lesson() == name and here.current() is not None


def hold_writers(name: str) -> None:
    """Take the place of the one writer that SQLite lets in, again and again."""
    with closing(sqlite3.connect(DATABASE, timeout=5, isolation_level=None)) as connection:
        while is_on(name):
            connection.execute("BEGIN IMMEDIATE")
            time.sleep(HELD)
            connection.execute("ROLLBACK")
            time.sleep(FREE)


def is_held() -> bool:
    """Say whether a writer would have to wait now."""
    with closing(sqlite3.connect(DATABASE, timeout=0, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        connection.execute("ROLLBACK")
        return False


def seconds_for_a_place() -> float:
    """Return how long a writer waits for its turn, and change nothing."""
    with closing(sqlite3.connect(DATABASE, timeout=5, isolation_level=None)) as connection:
        started = time.perf_counter()
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
        return time.perf_counter() - started


WORK = {"hold_writers": hold_writers}


def main(name: str) -> int:
    """Work until the riddle is over."""
    riddle = riddles.find(name)
    if not riddle or not riddle.truth.beside:
        return 1
    with LOCK.open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        WORK[riddle.truth.beside](name)
    return 0


def has_ended() -> bool:
    """Say whether nothing runs beside the services."""
    if not LOCK.exists():
        return True
    with LOCK.open(encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
