"""The sink: the address that takes the events, as CloudEvents over HTTP.

Imported with the first event that is sent: a cold start needs none of it.
"""

import asyncio

import httpx
from cloudevents.core.bindings.http import to_binary_event
from cloudevents.core.v1.event import CloudEvent

from services.chassis.database import Row

SOURCE = "/rule"


class Sink:
    """A client that posts events to one address."""

    def __init__(self, url: str, timeout: float) -> None:
        """timeout: seconds for an event."""
        self._url, self._timeout = url, timeout
        # All connections stay open while there is something to send.
        limits = httpx.Limits(max_keepalive_connections=None)
        self._client = httpx.AsyncClient(timeout=timeout, limits=limits, trust_env=False)

    async def send(self, event: Row) -> None:
        """Send a row of the outbox once, in binary mode: attributes as headers. Raises if it was not taken."""
        attributes = {
            "type": event["type"],
            "source": SOURCE,
            "id": event["id"],
            "subject": event["owner"],
            "time": event["happened_at"],
            "datacontenttype": "application/json",
        }
        # In the event for who handles it, behind however many brokers; in the request for the proxies on its way.
        trace = {"traceparent": event["traceparent"]} if event["traceparent"] else {}
        data = {"key": str(event["item_id"]), "name": event["item_name"]}
        message = to_binary_event(CloudEvent({**attributes, **trace}, data))
        # httpx has time limits for each step only.
        async with asyncio.timeout(self._timeout):
            answer = await self._client.post(self._url, content=message.body, headers={**message.headers, **trace})
        answer.raise_for_status()

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()
