"""Settings of the gateway."""

from pydantic import HttpUrl

from services.chassis.settings import Port, Seconds
from services.chassis.settings import Settings as ChassisSettings


class Settings(ChassisSettings):
    """Settings of the gateway."""

    port: Port = 3001
    user_url: HttpUrl = HttpUrl("http://127.0.0.1:3002")
    rule_url: HttpUrl = HttpUrl("http://127.0.0.1:3000")
    # Longer than a cold start of the upstream.
    upstream_timeout: Seconds = 10
    token_issuer: str = "todolist-user"  # noqa: S105 - no password
    token_audience: str = "todolist"  # noqa: S105 - no password
