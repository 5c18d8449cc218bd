"""What the one Envoy of the local mesh is told: files made from the templates in `envoy/`, and replaced while it runs.

Envoy is started with bootstrap.yaml and watches all others: a file that replaces one of them is in force at once.
`make split` replaces the weights in one, a lesson whole files. The templates are plain Envoy configuration, except for
placeholders such as `$PORT`: the folder, and the addresses in DEFAULTS.

`python -m deploy.local.proxy FOLDER` makes the files, with what the environment says of those addresses.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from string import Template

TEMPLATES = Path(__file__).parent / "envoy"

# Where Envoy listens: the ingress, what todolist calls for user and for rule, where rule posts its events, and Envoy's
# administration.
ENVOY_PORTS = {"PORT": 3001, "USER_PORT": 3002, "RULE_PORT": 3000, "EVENTS_PORT": 3003, "ENVOY_ADMIN_PORT": 15000}
# Where the services listen.
SERVICE_PORTS = {"TODOLIST_V1_PORT": 3011, "USER_V1_PORT": 3012, "USER_V2_PORT": 3022, "RULE_V1_PORT": 3010}
HOSTS = ("LISTEN_HOST", "TODOLIST_V1_HOST", "USER_V1_HOST", "USER_V2_HOST", "RULE_V1_HOST")
DEFAULTS: dict[str, str | int] = {**ENVOY_PORTS, **SERVICE_PORTS, **dict.fromkeys(HOSTS, "127.0.0.1")}


def template(name: str, folder: Path, settings: Mapping[str, str | int]) -> str:
    """Return a template with its places filled in. settings: those that differ from DEFAULTS, and SLEEP."""
    text = (TEMPLATES / name).read_text(encoding="utf-8")
    if settings.get("SLEEP"):
        # A try may take as long as the call: a second one would only wait for the same cold start.
        text = text.replace("per_try_timeout: 2s", "per_try_timeout: 8s")
    return Template(text).substitute({**DEFAULTS, **settings, "FOLDER": folder})


def write_all(folder: Path, settings: Mapping[str, str | int]) -> None:
    """Write all files again, so that nothing is left of the last run."""
    folder.mkdir(parents=True, exist_ok=True)
    remove_others(folder)
    for path in TEMPLATES.glob("*.yaml"):
        replace(folder / path.name, template(path.name, folder, settings))


def remove_others(folder: Path) -> None:
    """Remove what has no template: files that only a lesson has, the sockets of its listeners, and halves of files."""
    for path in folder.iterdir():
        if not (TEMPLATES / path.name).exists() and not path.is_dir():
            path.unlink()


def replace(path: Path, text: str) -> None:
    """Replace a file by renaming another one to its name: Envoy never sees half of it, and only this wakes it up."""
    new = path.with_suffix(".new")
    try:
        new.write_text(text, encoding="utf-8")
        new.replace(path)
    finally:
        # It is still there if the disk is full.
        new.unlink(missing_ok=True)


def lesson(folder: Path) -> str | None:
    """Return the name of the lesson that is on, by the header that the ingress adds; None if none is."""
    path = folder / "lesson-filter.yaml"
    match = re.search(r"key: x-lesson, value: (\S+) ", path.read_text(encoding="utf-8")) if path.exists() else None
    return match.group(1) if match else None


def is_riddle(name: str | None) -> bool:
    """Say whether what is on is a riddle, and no lesson."""
    return bool(name and name.startswith("riddle-"))


def called(name: str | None) -> str:
    """Return what people call a lesson or a riddle, such as "Lesson 01-split" and "Riddle 7"."""
    return f"Riddle {int(name.removeprefix('riddle-'))}" if name and is_riddle(name) else f"Lesson {name}"


def arguments(folder: Path) -> list[str]:
    """Return the arguments with which Envoy is started."""
    return [
        *("--config-path", str(folder / "bootstrap.yaml")),
        # One thread: the services need the other cores.
        *("--concurrency", "1"),
        "--disable-hot-restart",
        # Envoy warns of a file that it rejects.
        *("--log-level", "warning"),
        # A name that Envoy does not know is a mistake in the file, not something to ignore.
        "--reject-unknown-dynamic-fields",
        # When a listener is replaced, connections to the old one end after so many seconds.
        *("--drain-time-s", "20"),
    ]


if __name__ == "__main__":
    write_all(Path(sys.argv[1]), {name: os.environ[name] for name in DEFAULTS if name in os.environ})
