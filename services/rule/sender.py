"""The sender: posts events as CloudEvents over HTTP.

Imported with the first event, as it would delay a cold start.
"""

import asyncio

import httpx
from cloudevents.core.bindings.http import to_binary_event
from cloudevents.core.v1.event import CloudEvent

from services.chassis.database import Row

SOURCE = "/rule"


class Sender:
    """Posts events to one URL."""

    def __init__(self, url: str, timeout: float) -> None:
        """timeout: seconds for an event."""
        self._url, self._timeout = url, timeout
        self._tls = httpx.create_ssl_context(trust_env=False)
        # One client for each concurrent event: the pool of a single client slows down with its connections, and with
        # 32 takes four times the processor time.
        self._idle: list[httpx.AsyncClient] = []

    async def send(self, event: Row) -> None:
        """Send a row of the outbox once, in binary mode: attributes as headers. Raises if it was not accepted."""
        attributes = {
            "type": event["type"],
            "source": SOURCE,
            "id": event["id"],
            "subject": event["owner"],
            "time": event["happened_at"],
            "datacontenttype": "application/json",
        }
        # In the event for its consumer, behind any number of brokers; in the request for the proxies on its path.
        trace = {"traceparent": event["traceparent"]} if event["traceparent"] else {}
        data = {"key": str(event["item_id"]), "name": event["item_name"]}
        message = to_binary_event(CloudEvent({**attributes, **trace}, data))
        client = self._idle.pop() if self._idle else self._new_client()
        try:
            # httpx has timeouts for single steps only.
            headers = {**message.headers, **trace}
            async with (
                asyncio.timeout(self._timeout),
                client.stream("POST", self._url, content=message.body, headers=headers) as answer,
            ):
                # Only the status counts (Knative's data plane contract). The body is read, for the connection's next
                # request, and not decoded.
                async for _ in answer.aiter_raw():
                    pass
        finally:
            self._idle.append(client)
        answer.raise_for_status()

    async def close(self) -> None:
        """Close all connections."""
        for client in self._idle:
            await client.aclose()

    def _new_client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(timeout=self._timeout, verify=self._tls, trust_env=False)
