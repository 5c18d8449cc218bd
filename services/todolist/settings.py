"""Settings of the gateway."""

from typing import Annotated

from pydantic import BeforeValidator, HttpUrl
from pydantic_settings import NoDecode

from services.chassis.settings import Port, Seconds
from services.chassis.settings import Settings as ChassisSettings
from services.todolist.guard import Origin, parse_origin


def _parse_origins(text: str) -> list[Origin]:
    origins = {origin: parse_origin(origin) for origin in (text or "").replace(",", " ").split()}
    if wrong := [origin for origin, parsed in origins.items() if parsed is None]:
        raise ValueError(f"{wrong[0]} is no origin such as https://todo.example")
    return [parsed for parsed in origins.values() if parsed]


class Settings(ChassisSettings):
    """Settings of the gateway."""

    port: Port = 3001
    user_url: HttpUrl = HttpUrl("http://127.0.0.1:3002")
    rule_url: HttpUrl = HttpUrl("http://127.0.0.1:3000")
    # Longer than a cold start of the upstream.
    upstream_timeout: Seconds = 10
    # NoDecode: the variable is a list separated by spaces, not JSON.
    trusted_origins: Annotated[tuple[Origin, ...], NoDecode, BeforeValidator(_parse_origins)] = ()
    token_issuer: str = "todolist-user"  # noqa: S105 - no password
    token_audience: str = "todolist"  # noqa: S105 - no password
