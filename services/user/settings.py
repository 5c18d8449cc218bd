"""Settings of the user service."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from services.chassis.database.engine import DatabaseSettings, DatabaseUrl
from services.chassis.settings import Port, Seconds


class Settings(DatabaseSettings):
    """Settings of the user service."""

    port: Port = 3002
    version: Literal["v1", "v2"] = "v1"
    database_url: DatabaseUrl = "sqlite:///data/user.db"
    # Unset: a key is generated once and stored in data/token-key.pem.
    token_key_file: Path | None = None
    token_lifetime: Seconds = 12 * 3600
    token_issuer: str = "todolist-user"  # noqa: S105 - no password
    token_audience: str = "todolist"  # noqa: S105 - no password
    login_attempts: Annotated[int, Field(gt=0)] = 10
    login_window: Seconds = 15 * 60
    notice_lifetime: Seconds = 30 * 24 * 3600
    admin_password: Annotated[SecretStr, Field(min_length=8, max_length=128)] | None = None
