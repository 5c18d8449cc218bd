"""What the rule service can be told."""

from typing import Annotated

from pydantic import Field

from services.chassis.database import DatabaseSettings


class Settings(DatabaseSettings):
    """Settings of the rule service."""

    port: Annotated[int, Field(ge=1, le=65535)] = 3000
    database_url: str = "sqlite:///data/rule.db"
