"""Holds the listening socket of one service of `make run`, and starts the service when a connection waits there.

`python -m deploy.local.activator user-v1`, with HOST, PORT and the settings of the service in its environment. It
passes the socket as systemd does (services/chassis/activation.py), and keeps it open while processes start and stop.

The same on Knative, and the differences:
- Here the kernel plays the *activator*: while no process accepts, a connection waits in the accept queue, with its
  request. Knative's activator is a proxy: it buffers the requests of every service that is scaled to zero, and
  forwards them when a pod is ready. So it can count them, too, and wait for a pod on another machine.
- Here this program starts and stops the process. There Kubernetes starts a pod, with the sidecar, and probes it.
- Here a service is ready when it accepts connections. There its readiness probe decides.
- autoscaler.py decides when to scale to zero, and sends SIGUSR1 to this program.

To Envoy a sleeping service is a slow one: its connection waits. proxy.py raises the per-try timeout for that.
"""

import os
import select
import signal
import socket
import subprocess
import sys
import time

from deploy.local import sleepers

# The first file descriptor that systemd passes: sd_listen_fds(3).
SD_LISTEN_FDS_START = 3
# LISTEN_PID must be the id of the new process: exec keeps the shell's.
COMMAND = ("/bin/sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh", sys.executable, "-m")
STOP = {signal.SIGTERM, signal.SIGINT}
SLEEP = signal.SIGUSR1
# Seconds before a crashed process may be started again, by the next connection: doubled after each crash, up to the
# longest.
FIRST_PAUSE, LONGEST_PAUSE = 1, 30


class Activator:
    """One service, with or without a process."""

    def __init__(self, name: str, host: str, port: int) -> None:
        self._name, self._address = name, f"{host}:{port}"
        self._listener = socket.create_server((host, port), backlog=2048)
        os.dup2(self._listener.fileno(), SD_LISTEN_FDS_START)
        self._process: subprocess.Popen[bytes] | None = None
        # Each signal arrives as a byte on a socket, so that one `select` waits for signals and connections.
        self._signals, self._sends_signals = socket.socketpair()
        self._sends_signals.setblocking(False)
        signal.set_wakeup_fd(self._sends_signals.fileno())
        for number in (*STOP, SLEEP, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)

    def run(self) -> int:
        """Start and stop the service as needed. Returns the exit code when it ends."""
        # Like a revision of Knative, it starts with one process.
        self._start()
        is_woken, pause, not_before = False, FIRST_PAUSE, 0.0
        while True:
            # While there is a process, it accepts the connections itself.
            waiting = max(0.0, not_before - time.monotonic())
            watched = [self._signals] if self._process or waiting else [self._signals, self._listener]
            ready = select.select(watched, [], [], waiting or None)[0]
            signals = set(self._signals.recv(100)) if self._signals in ready else set()
            if self._process and (code := self._process.poll()) is not None:
                # If the first process exits, before any cold start, `make run` ends.
                if not is_woken or signals & STOP:
                    return code
                self._process = None
                self._write_state()
                print(
                    f"{time.strftime('%H:%M:%S')} WARNING activator: {self._name} ended with exit code {code}. "
                    f"The first connection after {pause} s starts it again; `VERBOSE=1 make run` shows why it ends.",
                    flush=True,
                )
                not_before, pause = time.monotonic() + pause, min(2 * pause, LONGEST_PAUSE)
            elif signals & STOP:
                return self._stop()
            elif SLEEP in signals:
                self._stop()
                pause = FIRST_PAUSE
            elif self._listener in ready:
                # The instance in x-served-by says that a request woke this process, and when: the page marks that call.
                self._start(INSTANCE=f"{self._address}-woken-{time.strftime('%H%M%S')}")
                is_woken = True

    def _start(self, **environment: str) -> None:
        service = f"services.{self._name.partition('-')[0]}"
        self._process = subprocess.Popen(  # noqa: S603 - our own
            (*COMMAND, service), env={**os.environ, "LISTEN_FDS": "1", **environment}, pass_fds=(SD_LISTEN_FDS_START,)
        )
        self._write_state()

    def _stop(self) -> int:
        """Stop the process, if there is one, and return its exit code."""
        if not self._process:
            return 0
        self._process.terminate()
        code = self._process.wait()
        self._process = None
        self._write_state()
        return code

    def _write_state(self) -> None:
        process = self._process.pid if self._process else None
        sleepers.write(self._name, sleepers.Sleeper(os.getpid(), process, time.time()))


def main(name: str) -> int:
    """Run until SIGTERM (0), or until the first process ends by itself, then with its exit code or signal."""
    host, port = os.environ["HOST"], int(os.environ["PORT"])
    try:
        activator = Activator(name, host, port)
    except OSError as error:
        print(f"{name} cannot listen on {host}:{port}: {error.strerror}", file=sys.stderr)
        return 1
    code = activator.run()
    if code < 0:
        os.kill(os.getpid(), -code)
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
