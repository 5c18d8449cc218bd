"""Statements in groups: those that come while their thread is busy go to it together.

A commit to a disk takes as long for fifty rows as for one, and waking a thread takes as long as a short read.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Executable, exc

# Each row by the names of its columns.
Rows = list[dict[str, Any]]


class Queued(NamedTuple):
    """A statement that waits for its thread, and the future of its rows."""

    executable: Executable
    parameters: Mapping[str, Any] | None
    rows: asyncio.Future[Rows]


class Groups:
    """The statements that wait, and the thread that runs one group of them at a time."""

    def __init__(self, run: Callable[[Sequence[Queued]], Sequence[Rows]]) -> None:
        self._run = run
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
            results = await self._results(group) if group else ()
            for queued, result in zip(group, results, strict=True):
                if queued.rows.done():
                    continue
                if isinstance(result, Exception):
                    queued.rows.set_exception(result)
                else:
                    queued.rows.set_result(result)

    async def _results(self, group: Sequence[Queued]) -> Sequence[Rows | Exception]:
        """Run the group; if the database refuses one of the statements, each alone."""
        try:
            return await asyncio.to_thread(self._run, group)
        except (exc.DataError, exc.IntegrityError) as error:
            return [error] if len(group) == 1 else [result for each in group for result in await self._results([each])]
        except Exception as error:
            return [error] * len(group)
