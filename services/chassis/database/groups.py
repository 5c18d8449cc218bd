"""Statements in groups: those that come while their thread is busy go to it together.

A commit to a disk takes as long for fifty rows as for one, and waking a thread takes as long as a short read.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from sqlalchemy import Executable

# Each row by the names of its columns.
Rows = list[dict[str, Any]]


class Queued(NamedTuple):
    """A statement that waits for its thread, and the future of its rows."""

    executable: Executable
    parameters: Mapping[str, Any] | None
    rows: asyncio.Future[Rows]


class Groups:
    """The statements that wait, and the thread that runs them."""

    def __init__(self, run: Callable[[Sequence[Queued]], Sequence[Rows | Exception]]) -> None:
        """run: runs a group, and returns the rows of each of its statements, or its exception."""
        self._run, self._thread = run, ThreadPoolExecutor(1)
        self._waiting: asyncio.Queue[Queued] = asyncio.Queue()

    def add(self, executable: Executable, parameters: Mapping[str, Any] | None) -> asyncio.Future[Rows]:
        """Queue a statement and return a future of its rows."""
        rows: asyncio.Future[Rows] = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait(Queued(executable, parameters, rows))
        return rows

    async def serve(self) -> None:
        """Run what waits, until this is cancelled."""
        while True:
            group = [await self._waiting.get()]
            while not self._waiting.empty():
                group.append(self._waiting.get_nowait())
            # Drop those whose callers have given up.
            group = [queued for queued in group if not queued.rows.done()]
            results = await asyncio.get_running_loop().run_in_executor(self._thread, self._run, group) if group else ()
            for queued, result in zip(group, results, strict=True):
                if queued.rows.done():
                    continue
                if isinstance(result, Exception):
                    queued.rows.set_exception(result)
                else:
                    queued.rows.set_result(result)
