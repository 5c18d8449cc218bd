"""Finds the `make run` that is running in this folder, for `make traffic`, `make split` and others.

A run writes its addresses to data/mesh.json and locks the file while it runs. The file of a run that was killed is not
locked, and so is ignored.

`python -m deploy.local.here` prints the URL, and exits with 1 if there is none.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TextIO

from deploy.local import proxy

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
        return f"{'https' if proxy.serves_https(proxy.CONFIGURATION) else 'http'}://127.0.0.1:{self.ports['PORT']}"

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
    with proxy.named(FILE):
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


def not_writable(file: Path) -> tuple[str, str]:
    """Return why a file below this folder, or what it is in, cannot be written, and what changes it."""
    owners, folder = set(), file.parts[0]
    for path in (file, file.parent):
        with suppress(OSError):
            owners.add(path.stat().st_uid)
    if not Path(folder).exists():
        return "this folder cannot be written", "copy it to where you may write, such as your home"
    if owners == {os.geteuid()}:
        return "it is yours, but may not be written", f"chmod -R u+rwX {folder}"
    return "it is not yours", f'sudo chown -R "$(id -un)" {folder}'


def unwritable(error: OSError) -> str:
    """Return a message about a file below this folder that could not be read or written; without one, the output."""
    if not error.filename:
        return f"The output cannot be written: {error.strerror}"
    file = Path(error.filename)
    folder = file.parts[0]
    advice = {
        errno.EACCES: "{}: {}".format(*not_writable(file)),
        errno.EROFS: "the file system is read-only. Copy this folder to another one",
        errno.ENOSPC: "the disk is full. Free some space, and start again",
        errno.EDQUOT: "your disk quota is exceeded. Free some space, and start again",
        errno.EEXIST: f"there is a file named {folder} where a folder should be. Move it away",
        errno.ENOTDIR: f"there is a file named {folder} where a folder should be. Move it away",
    }
    return f"{file} cannot be used: {advice.get(error.errno or 0, error.strerror)}"


if __name__ == "__main__":
    try:
        on = current()
    except OSError as failure:
        sys.exit(unwritable(failure))
    if not on:
        sys.exit(1)
    print(on.url)
