"""Finds the `make run` that is running in this folder, for `make traffic`, `make split` and others.

A run writes its addresses to data/mesh.json and locks the file while it runs. The file of a run that was killed is not
locked, and so is ignored.

`python -m deploy.local.here` prints the URL, and exits with 1 if there is none.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TextIO

from deploy.local import files, proxy

FILE = Path("data/mesh.json")


@dataclass(frozen=True)
class Run:
    """A run of the local mesh.

    ports: of all processes, by their settings; sleep: seconds after which services are scaled to zero, unless a
    lesson changes them; tls: whether the ingress serves HTTPS, unless a lesson does; process: the id of its main one.
    """

    ports: dict[str, int]
    sleep: int = 0
    tls: bool = False
    process: int = 0

    @property
    def url(self) -> str:
        """The URL of the ingress."""
        return f"{'https' if proxy.serves_https() else 'http'}://127.0.0.1:{self.ports['PORT']}"

    @property
    def admin(self) -> str:
        """The URL of Envoy's admin page."""
        return f"http://127.0.0.1:{self.ports['ENVOY_ADMIN_PORT']}"

    @property
    def has_process(self) -> bool:
        """Whether its main process exists. If that was killed, the others end a moment later."""
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return True

    def describe(self) -> str:
        """Connect to its port, and return in a sentence what it does and how to stop it."""
        with socket.socket() as caller:
            caller.settimeout(1)
            listens = caller.connect_ex(("127.0.0.1", self.ports["PORT"])) == 0
        if not self.has_process:
            return f"`make run` in this folder was killed, and some of its processes are left: `lsof {FILE}` lists them"
        doing = f"already running in this folder, at {self.url}" if listens else "starting or ending in this folder"
        return f"`make run` is {doing}: stop it first (Ctrl-C there, or kill {self.process})"

    @property
    def settings(self) -> dict[str, int]:
        """The values for the templates of Envoy's files."""
        return {**self.ports, "SLEEP": self.sleep, "TLS": self.tls}


def claim(run: Run) -> TextIO | None:
    """Register this run until the returned file is closed, or return None if another one is running."""
    FILE.parent.mkdir(exist_ok=True)
    # Not "w", which would empty the file of another run.
    file = FILE.open("a", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    with files.named(FILE):
        file.truncate(0)
        json.dump(asdict(replace(run, process=os.getpid())), file)
        file.flush()
    return file


def current() -> Run | None:
    """Return the current run, or None."""
    try:
        with FILE.open(encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except BlockingIOError:
        return Run(**json.loads(FILE.read_text(encoding="utf-8")))
    return None


def await_killed(seconds: float = 20) -> None:
    """Wait until the processes of a run whose main process was killed have ended."""
    end = time.monotonic() + seconds
    while (run := current()) and not run.has_process and time.monotonic() < end:
        time.sleep(0.1)


if __name__ == "__main__":
    try:
        on = current()
    except OSError as failure:
        sys.exit(files.unwritable(failure))
    if not on:
        sys.exit(1)
    print(on.url)
