"""The state of the services of `make run` that can be scaled to zero ("sleep").

data/sleep/after has the idle time in seconds until scale to zero, 0 for never. `make run` writes SLEEP there; a lesson
may change it. Each activator writes data/sleep/NAME.json. `python -m deploy.local.sleepers` prints all, for `make
status`.
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

from deploy.local import files, proxy

FOLDER = Path("data/sleep")
AFTER = FOLDER / "after"
# By the names of Envoy's clusters. todolist never scales to zero, as on Knative: every page load needs it.
NAMES = ("rule", "user-v1", "user-v2")


@dataclass(frozen=True)
class Sleeper:
    """The state of an activator.

    activator: its process id; process: that of the service, None while it sleeps; began: when that was last started or
    stopped, in seconds since 1970.
    """

    activator: int
    process: int | None
    began: float


def from_setting(environment: Mapping[str, str] = os.environ) -> int:
    """Return the seconds in SLEEP. Raises ValueError if it is not a number."""
    value = environment.get("SLEEP") or "0"
    if not value.isdecimal():
        raise ValueError(f"SLEEP={value} is not a number of seconds: choose one such as 30, or 0 for never")
    return int(value)


def clear() -> None:
    """Delete the state of an earlier run."""
    shutil.rmtree(FOLDER, ignore_errors=True)


def let_sleep(after: int) -> None:
    """Set the seconds without a request after which services sleep; 0: never."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    files.replace(AFTER, f"{after}\n")


def after() -> int:
    """Return the seconds after which services sleep now, 0 if they never do."""
    try:
        return int(AFTER.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return 0


def write(name: str, sleeper: Sleeper) -> None:
    """Write the state of an activator."""
    # A full disk or a folder that cannot be written must not keep a service from starting or stopping.
    with suppress(OSError):
        FOLDER.mkdir(parents=True, exist_ok=True)
        files.replace(FOLDER / f"{name}.json", json.dumps(asdict(sleeper)))


def read() -> dict[str, Sleeper]:
    """Return the states of the activators, by the names of the services."""
    found = {}
    for name in NAMES:
        with suppress(FileNotFoundError):
            found[name] = Sleeper(**json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8")))
    return found


def main() -> None:
    """Print which services sleep."""
    # In a riddle the idle time is not printed, as it may be the fault; the processes are.
    in_a_riddle = proxy.is_riddle(proxy.lesson())
    seconds = after()
    if in_a_riddle:
        print("processes:")
    elif not seconds:
        print("asleep:\n  none: scale to zero is off (`SLEEP=30 make run` lets user and rule sleep)")
        return
    else:
        print(f"asleep or awake (after {seconds} s without a request a service sleeps):")
    for name, sleeper in read().items():
        awake, asleep = ("process", "no process") if in_a_riddle else ("awake, process", "asleep")
        state = f"{awake} {sleeper.process}," if sleeper.process else asleep
        print(f"  {name:<8} {state} for {time.time() - sleeper.began:.0f} s")


if __name__ == "__main__":
    main()
