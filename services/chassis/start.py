"""Starts a service: the steps before the large imports."""

import gc
import os
import signal
import time

# Python itself has started; the imports of the service begin.
STARTED = time.time()


def run(service: str) -> None:
    """Import and run a service until SIGTERM or SIGINT. Exit codes: see server.run."""
    # Process 1 of a container ignores a signal without a handler: a pod that is deleted while it starts would
    # last for its whole grace period. uvicorn restores these handlers, and calls them again when it has stopped.
    for number in (signal.SIGTERM, signal.SIGINT):
        # Not SystemExit: raised during the import of an extension module, it becomes another error.
        signal.signal(number, lambda *_: os._exit(0))
    # Garbage collection during imports frees little and takes a tenth of the start. server.run enables it.
    gc.disable()
    from services.chassis import server

    server.run(service, STARTED)
