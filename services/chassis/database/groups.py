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


class Statement(NamedTuple):
    """A queued statement, and the future of its rows."""

    executable: Executable
    parameters: Mapping[str, Any] | None
    rows: asyncio.Future[Rows]


class Groups:
    """The statements that wait, and the thread that runs them."""

    def __init__(self, run: Callable[[Sequence[Statement]], Sequence[Rows | Exception]]) -> None:
        """run: runs a group, and returns the rows of each of its statements, or why there are none."""
        self._run, self._thread = run, ThreadPoolExecutor(1)
        self._waiting: asyncio.Queue[Statement] = asyncio.Queue()

    def add(self, executable: Executable, parameters: Mapping[str, Any] | None) -> asyncio.Future[Rows]:
        """Queue a statement and return a future of its rows."""
        rows: asyncio.Future[Rows] = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait(Statement(executable, parameters, rows))
        return rows

    async def serve(self) -> None:
        """Run what waits, until this is cancelled."""
        while True:
            group = [await self._waiting.get()]
            while not self._waiting.empty():
                group.append(self._waiting.get_nowait())
            # Drop those whose callers have given up.
            group = [statement for statement in group if not statement.rows.done()]
            loop = asyncio.get_running_loop()
            results = await loop.run_in_executor(self._thread, self._run, group) if group else ()
            for statement, result in zip(group, results, strict=True):
                if statement.rows.done():
                    continue
                if isinstance(result, Exception):
                    statement.rows.set_exception(result)
                else:
                    statement.rows.set_result(result)
