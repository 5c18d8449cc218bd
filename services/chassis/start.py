"""Start a service: what has to be done before anything large is imported."""

import gc
import os
import signal
import sys


def run(service: str) -> None:
    """Import and run a service until it is told to stop. Exit codes: see server.run."""
    # Process 1 of a container ignores a SIGTERM for which it has no handler: a pod that is deleted while it starts
    # would stay for its whole grace period.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # No CA file: importing aiohttp would read it, twice. OpenSSL still looks into its folder of CAs when it needs one.
    os.environ.setdefault("SSL_CERT_FILE", os.devnull)
    # Garbage collection during imports finds little and takes a tenth of the start. server.run turns it on.
    gc.disable()
    # FastAPI would import Pydantic 1 only to recognize its models, and refuse them.
    sys.modules["pydantic.v1"] = None  # type: ignore[assignment]
    from pydantic import BaseModel

    # Most models, such as those of the OpenAPI format, never validate anything: build each when it is first needed.
    BaseModel.model_config["defer_build"] = True
    from services.chassis import server

    server.run(service)
