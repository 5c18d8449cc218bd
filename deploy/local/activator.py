"""Holds the listening socket of one service of `make run`, and starts the service when a connection waits there.

`python -m deploy.local.activator user-v1`, with HOST, PORT and the settings of the service in its environment. It hands
the socket over as systemd does (services/chassis/activation.py), and keeps it open while processes come and go.

What does the same on Knative, and what is different there:
- Here the kernel plays the *activator*: while no process accepts, a connection waits in the queue of the socket, with
  its request. Knative's activator is a proxy: it takes the requests of every sleeping service, keeps them, and passes
  them on when a pod is ready. So it can count them, too, and wait for a pod on another machine.
- Here this program starts and stops the process. There Kubernetes does, with a container, a sidecar and probes around.
- Here a service is ready when it accepts. There its readiness probe says so.
- When it is to sleep, autoscaler.py decides, and sends SIGUSR1 to this program.
"""

import os
import select
import signal
import socket
import subprocess
import sys
import time

from deploy.local import sleepers

# What systemd hands over begins with this file descriptor.
FIRST = 3
# The shell knows its process id, and exec keeps it.
COMMAND = ("/bin/sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh", sys.executable, "-m")
STOP = {signal.SIGTERM, signal.SIGINT}
SLEEP = signal.SIGUSR1
# Seconds until the next start of a process that ends by itself: twice as long each time, up to the last of them.
FIRST_PAUSE, LONGEST_PAUSE = 1, 30


class Activator:
    """One service, with a process or without."""

    def __init__(self, name: str, host: str, port: int) -> None:
        self._name, self._address = name, f"{host}:{port}"
        self._listener = socket.create_server((host, port), backlog=2048)
        os.dup2(self._listener.fileno(), FIRST)
        self._process: subprocess.Popen[bytes] | None = None
        # Each signal comes as a byte, so that one `select` waits for signals and for connections.
        self._signals, self._sends_signals = socket.socketpair()
        self._sends_signals.setblocking(False)
        signal.set_wakeup_fd(self._sends_signals.fileno())
        for number in (*STOP, SLEEP, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)

    def run(self) -> int:
        """Start and stop the service as needed until SIGTERM. Returns the exit code."""
        # As a revision of Knative: with a process at first.
        self._start()
        is_woken, pause, not_before = False, FIRST_PAUSE, 0.0
        while True:
            # As long as a process is there, connections are its own business.
            waiting = max(0.0, not_before - time.monotonic())
            watched = [self._signals] if self._process or waiting else [self._signals, self._listener]
            ready = select.select(watched, [], [], waiting or None)[0]
            signals = set(self._signals.recv(100)) if self._signals in ready else set()
            if self._process and (code := self._process.poll()) is not None:
                if not is_woken or signals & STOP:
                    return code
                self._process = None
                self._tell()
                print(
                    f"{time.strftime('%H:%M:%S')} WARNING activator: {self._name} ended with exit code {code}. "
                    f"Its callers wait, and it is started again in {pause} s; `VERBOSE=1 make run` shows why it ends.",
                    flush=True,
                )
                not_before, pause = time.monotonic() + pause, min(2 * pause, LONGEST_PAUSE)
            elif signals & STOP:
                return self._stop()
            elif SLEEP in signals:
                self._stop()
                pause = FIRST_PAUSE
            elif self._listener in ready:
                # Its name in x-served-by says that it was woken up, and when: the page marks its first call.
                self._start(INSTANCE=f"{self._address}-woken-{time.strftime('%H%M%S')}")
                is_woken = True

    def _start(self, **environment: str) -> None:
        service = f"services.{self._name.partition('-')[0]}"
        self._process = subprocess.Popen(  # noqa: S603 - our own
            (*COMMAND, service), env={**os.environ, "LISTEN_FDS": "1", **environment}, pass_fds=(FIRST,)
        )
        self._tell()

    def _stop(self) -> int:
        """Stop the process, if there is one, and return its exit code."""
        if not self._process:
            return 0
        self._process.terminate()
        code = self._process.wait()
        self._process = None
        self._tell()
        return code

    def _tell(self) -> None:
        process = self._process.pid if self._process else None
        sleepers.write(self._name, sleepers.Sleeper(os.getpid(), process, time.time()))


def main(name: str) -> int:
    """Run until SIGTERM (0), or until the first process ends by itself: then as it ended."""
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
