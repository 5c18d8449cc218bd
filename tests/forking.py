"""Services that start fast: forked from a process that has imported everything already.

A start's time goes into imports; without them a test can kill a service a hundred times.
"""

import gc
import importlib
import json
import os
import signal
import subprocess
import sys
from functools import cache

import psutil

from services.chassis import server
from tests.support import ROOT, Service


class Process(psutil.Process):
    """What Service expects of the process that it starts, though it is not its child."""

    def poll(self) -> int | None:
        return None if self.is_running() else -1


class Forker:
    """The process that forks."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.forking"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def fork(self, *order: object) -> Process:
        """Start a service: its name, directory, log and environment."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        return Process(int(self._process.stdout.readline()))


@cache
def forker() -> Forker:
    """Return the process that forks; it ends with this one, which holds the other end of its input."""
    return Forker()


class Forked(Service):
    """A service that starts fast."""

    def _spawn(self) -> Process:
        return forker().fork(self.name, str(self._directory), str(self.log), self._environment)


def main() -> None:
    """Fork a service for each line of the input, and answer with its process id."""
    applications = (f"services.{name}.app" for name in ("rule", "user", "todolist"))
    for module in ("psycopg", "uvloop", "uvicorn.lifespan.on", *applications):
        importlib.import_module(module)
    # Nobody waits for the children.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.freeze()
    for line in sys.stdin:
        name, directory, log, environment = json.loads(line)
        if pid := os.fork():
            print(pid, flush=True)
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.chdir(directory)
        os.environ.clear()
        os.environ.update(environment)
        output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        for standard in (1, 2):
            os.dup2(output, standard)
        server.run(name)
        sys.exit()


if __name__ == "__main__":
    main()
