"""Which services of `make run` may sleep, after how many seconds without a request, and which of them do.

data/sleep/after has the seconds, 0 for never: at first those of SLEEP, and a lesson may change them. Beside it each
activator writes what it does. `python -m deploy.local.sleepers` prints that, for `make status`.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from deploy.local import proxy

FOLDER = Path("data/sleep")
AFTER = FOLDER / "after"
CONFIGURATION = Path("data/envoy")
# By the names of Envoy's clusters. todolist stays awake, as on Knative: people meet it first.
NAMES = ("rule", "user-v1", "user-v2")


@dataclass(frozen=True)
class Sleeper:
    """What an activator does.

    activator: its process id; process: that of the service, None while it sleeps; began: when it was last started or
    stopped, in seconds since 1970.
    """

    activator: int
    process: int | None
    began: float


def wanted(environment: Mapping[str, str] = os.environ) -> int:
    """Return the seconds that SLEEP says. Raises ValueError with a sentence."""
    value = environment.get("SLEEP") or "0"
    if not value.isdecimal():
        raise ValueError(f"SLEEP={value} is not a number of seconds: choose one such as 30, or 0 for never")
    return int(value)


def clear() -> None:
    """Forget what a former run has left."""
    shutil.rmtree(FOLDER, ignore_errors=True)


def let_sleep(after: int) -> None:
    """Let services sleep after so many seconds without a request; 0: never."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    proxy.replace(AFTER, f"{after}\n")


def after() -> int:
    """Return the seconds after which services sleep now, 0 if they never do."""
    try:
        return int(AFTER.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return 0


def write(name: str, sleeper: Sleeper) -> None:
    """Write what an activator does."""
    # With a full disk, or in a folder that is gone, a service starts and stops all the same.
    with suppress(OSError):
        FOLDER.mkdir(parents=True, exist_ok=True)
        proxy.replace(FOLDER / f"{name}.json", json.dumps(asdict(sleeper)))


def read() -> dict[str, Sleeper]:
    """Return what the activators do, by the names of the services."""
    found = {}
    for name in NAMES:
        with suppress(FileNotFoundError):
            found[name] = Sleeper(**json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8")))
    return found


def main() -> None:
    """Print which services sleep."""
    # What is set may be the riddle that is on; what is, may be seen.
    in_a_riddle = proxy.is_riddle(proxy.lesson(CONFIGURATION))
    seconds = after()
    if in_a_riddle:
        print("processes:")
    elif not seconds:
        print("asleep:\n  none, as they stay awake (`SLEEP=30 make run` lets user and rule sleep)")
        return
    else:
        print(f"asleep or awake (after {seconds} s without a request a service sleeps):")
    for name, sleeper in read().items():
        awake, asleep = ("process", "no process") if in_a_riddle else ("awake, process", "asleep")
        state = f"{awake} {sleeper.process}," if sleeper.process else asleep
        print(f"  {name:<8} {state} for {time.time() - sleeper.began:.0f} s")


if __name__ == "__main__":
    main()
