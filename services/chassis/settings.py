"""Configuration: environment variables, read once at start. Each default works locally."""

import os
import socket
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings

# Up to 30 years: what is added to the time of now must still be a time.
Seconds = Annotated[float, Field(gt=0, le=1e9)]
Port = Annotated[int, Field(ge=1, le=65535)]


class Settings(BaseSettings, frozen=True, env_ignore_empty=True):
    """Settings of every service. The variable is the field's name in capitals."""

    host: str = "127.0.0.1"
    port: Port
    version: Annotated[str, Field(pattern=r"^[a-z0-9.-]{1,40}$")] = "v1"
    # Sent in a header.
    instance: Annotated[str, Field(pattern=r"^[ -~]{0,100}$")] = ""
    log_format: Literal["auto", "json", "text"] = "auto"
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(str.upper)] = "INFO"
    access_log: bool = False
    shutdown_timeout: Annotated[int, Field(gt=0)] = 15

    @property
    def instance_name(self) -> str:
        """The name of this process in `x-served-by`: the pod's in a cluster, host:port elsewhere."""
        in_cluster = "KUBERNETES_SERVICE_HOST" in os.environ
        return self.instance or (socket.gethostname() if in_cluster else f"{self.host}:{self.port}")
