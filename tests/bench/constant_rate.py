"""Load at a constant rate (an open model): requests are due at their times, however slow the answers are.

Each answer is timed from when its request was due. From when it was sent, a request that waited for its connection
would look quick ("coordinated omission"). wrk sends the next request when the answer is there, and cannot do this.
"""

import asyncio
import re
from dataclasses import dataclass, field
from statistics import quantiles
from urllib.parse import urlsplit

import uvloop

LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)


@dataclass
class Client(asyncio.Protocol):
    """One connection with its own share of the requests. waits: seconds from due to answered."""

    request: bytes
    due: float
    interval: float
    until: float
    waits: list[float] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    received: bytes = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.plan()

    def plan(self) -> None:
        """Send the next request when it is due, or at once if it is late."""
        if self.due < self.until:
            asyncio.get_running_loop().call_at(self.due, self.transport.write, self.request)
        else:
            self.transport.close()
            self.ended.set()

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, end, body = self.received.partition(b"\r\n\r\n")
        if end and (length := LENGTH.search(head)) and len(body) == int(length[1]):
            self.received = b""
            self.waits.append(asyncio.get_running_loop().time() - self.due)
            self.due += self.interval
            self.plan()


def constant_rate(url: str, *, connections: int, rate: float, seconds: float) -> tuple[float, float]:
    """Send so many GET requests per second in all; return the median and the p99 of the answers, in seconds."""
    parts = urlsplit(url)
    request = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()

    async def run() -> list[float]:
        loop = asyncio.get_running_loop()
        # All connections are open by then.
        start = loop.time() + 0.5
        clients = []
        for number in range(connections):
            client = Client(request, start + number / rate, connections / rate, start + seconds)
            await loop.create_connection(lambda client=client: client, parts.hostname, parts.port)
            clients.append(client)
        for client in clients:
            await asyncio.wait_for(client.ended.wait(), 10 * seconds)
        return [wait for client in clients for wait in client.waits]

    cuts = quantiles(uvloop.run(run()), n=100)
    return cuts[49], cuts[98]
