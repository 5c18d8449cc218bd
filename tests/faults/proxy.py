"""A TCP proxy that can reject, delay, drop or corrupt what it forwards."""

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress


class Proxy:
    """Listens on a port of 127.0.0.1 and forwards each connection to one that `connect` makes."""

    def __init__(self, connect: Callable[[], socket.socket]) -> None:
        self._connect = connect
        self._sockets: list[socket.socket] = []
        self._far: list[socket.socket] = []
        self.port = self._listen(0)
        self._flows = threading.Event()
        self._flows.set()
        self._patience: float | None = None
        self._spoil: Callable[[bytes], bytes] | None = None

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """End all connections, and take no new one."""
        self.close()
        try:
            yield
        finally:
            self._listen(self.port)

    @contextmanager
    def hanging(self, seconds: float) -> Iterator[None]:
        """Keep connections open, and delay everything for this time, or until the end."""
        self._patience = seconds
        self._flows.clear()
        try:
            yield
        finally:
            self._flows.set()

    @contextmanager
    def losing(self) -> Iterator[None]:
        """Drop everything; clients that connected before get no reset."""
        self._patience = None
        self._flows.clear()
        try:
            yield
        finally:
            self._flows = threading.Event()
            self._flows.set()
            # The other side gives up at last.
            _close(self._far)

    @contextmanager
    def spoiling(self, spoil: Callable[[bytes], bytes]) -> Iterator[None]:
        """Change each answer and close the connection."""
        self._spoil = spoil
        try:
            yield
        finally:
            self._spoil = None

    def close(self) -> None:
        _close((*self._sockets, *self._far))

    def _listen(self, port: int) -> int:
        listener = socket.create_server(("127.0.0.1", port))
        self._sockets.append(listener)
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return int(listener.getsockname()[1])

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            try:
                far = self._connect()
            except OSError:
                near.close()
                continue
            for end in (near, far):
                if end.family == socket.AF_INET:
                    # A service does so, too: else small packets wait for 40 ms.
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets.append(near)
            self._far.append(far)
            for source, target in ((near, far), (far, near)):
                arguments = (source, target, target is near, self._flows)
                threading.Thread(target=self._pump, args=arguments, daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, is_answer: bool, flows: threading.Event) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                flows.wait(self._patience)
                if is_answer and self._spoil:
                    target.sendall(self._spoil(data))
                    break
                target.sendall(data)
            flows.wait(self._patience)
            target.shutdown(socket.SHUT_WR)


def _close(sockets: Iterable[socket.socket]) -> None:
    for each in sockets:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()
