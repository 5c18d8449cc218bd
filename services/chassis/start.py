"""Start a service: what has to be done before anything large is imported."""

import gc
import signal
import sys
from typing import NoReturn


def run(service: str) -> NoReturn:
    """Import and run a service until it is told to stop. Exit codes: see server.run."""
    # Process 1 of a container does not hear a SIGTERM that it has no handler for: a pod that is taken back while it
    # starts would stay for its whole grace period.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # Collecting while modules are imported finds nothing and takes a tenth of the start.
    gc.disable()
    from pydantic import BaseModel

    # Most models, those of the OpenAPI format among them, are never used to validate: each is built when it first is.
    BaseModel.model_config["defer_build"] = True
    from services.chassis import server

    server.run(service)
