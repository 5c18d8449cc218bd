"""Socket activation: a service manager listens, and passes its socket to the service that it starts.

This is systemd's protocol, sd_listen_fds(3). While no process of the service runs, a connection waits in the kernel's
queue; systemd, or the activator of `make run` (deploy/local/activator.py), sees it there and starts the service.
"""

import asyncio
import os
import socket

import uvicorn

from services.chassis import metrics

# The first file descriptor that is passed, after standard input, output and error: sd_listen_fds(3).
SD_LISTEN_FDS_START = 3
# Open connections are drained for 3 s. Clients close an idle one sooner (2 s: deploy/local/envoy/clusters.yaml).
DRAIN_STEP, DRAIN_STEPS = 0.1, 30


def inherited_socket() -> socket.socket | None:
    """Return the socket that the service manager passed, or None. Raises ValueError for invalid variables."""
    count = os.environ.get("LISTEN_FDS")
    # With the LISTEN_PID of another process, the variables are inherited from it, and there is no socket for this one.
    if not count or os.environ.get("LISTEN_PID") != str(os.getpid()):
        return None
    if count != "1":
        raise ValueError(f"LISTEN_FDS: expected one socket, got {count}")
    try:
        listener = socket.socket(fileno=SD_LISTEN_FDS_START)
        # On a listening socket this only sets the backlog; it fails for a connected one.
        listener.listen(2048)
    except OSError as error:
        raise ValueError(f"LISTEN_FDS: the file descriptor is no listening socket: {error.strerror}") from None
    return listener


class Server(uvicorn.Server):
    """Stops so that no request is lost while another process holds the same listening socket."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        metrics.reached("application")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Leave new connections to the next process, and drain the open ones: each may send one more request."""
        for server in self.servers:
            server.close()
        # The client may be sending a request at this moment: `Connection: close` in the response ends the connection.
        # An idle connection is closed by the client.
        self.server_state.default_headers = [*self.server_state.default_headers, (b"connection", b"close")]
        for _ in range(DRAIN_STEPS):
            await asyncio.sleep(DRAIN_STEP)
            if not self.server_state.connections:
                break
        await super().shutdown(sockets)
