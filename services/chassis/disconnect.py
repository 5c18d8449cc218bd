"""Cancels work whose client has disconnected."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect

T = TypeVar("T")
# Seconds. Shorter work does not pay for a second task that watches the connection.
UNWATCHED = 0.2


async def until_disconnect(request: Request, work: Awaitable[T]) -> T:
    """Await the work; if the client disconnects first, cancel it and raise ClientDisconnect.

    For reads only: the outcome of a cancelled write would be unknown.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    watchers: list[asyncio.Task[None]] = []

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        if task:
            task.cancel()

    timer = loop.call_later(UNWATCHED, lambda: watchers.append(loop.create_task(watch())))
    try:
        return await work
    except asyncio.CancelledError:
        has_left = any(watcher.done() for watcher in watchers)
        if not has_left or not task:
            raise
        task.uncancel()
        raise ClientDisconnect from None
    finally:
        timer.cancel()
        for watcher in watchers:
            watcher.cancel()
