"""Start a service: what has to be done before anything large is imported."""

import gc
import os
import signal
import time

# When Python began with what is ours.
BEGAN = time.time()


def run(service: str) -> None:
    """Import and run a service until it gets SIGTERM or SIGINT. Exit codes: see server.run."""
    # Process 1 of a container ignores a signal for which it has no handler: a pod that is deleted while it starts would
    # stay for its whole grace period. uvicorn restores these handlers, and calls them again when it has stopped.
    for number in (signal.SIGTERM, signal.SIGINT):
        # No SystemExit: raised inside the import of an extension module, it would end as another error.
        signal.signal(number, lambda *_: os._exit(0))
    # Garbage collection during imports finds little and takes a tenth of the start. server.run turns it on.
    gc.disable()
    from services.chassis import server

    server.run(service)
