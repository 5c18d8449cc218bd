"""`make run`: starts the local mesh, which is in mesh.py."""

import io
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from deploy import interrupts


class Output(io.TextIOWrapper):
    """Standard output; if its reader ends, such as `head`, everything stops, as with Ctrl-C."""

    def write(self, text: str) -> int:
        with self._stopping():
            return super().write(text)
        return len(text)

    def flush(self) -> None:
        with self._stopping():
            super().flush()

    @contextmanager
    def _stopping(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    # Until there are processes to stop.
    interrupts.exit_silently()
    from deploy.local import mesh

    sys.stdout = Output(sys.stdout.buffer, "utf-8", "replace", line_buffering=sys.stdout.isatty())
    sys.exit(mesh.main())
