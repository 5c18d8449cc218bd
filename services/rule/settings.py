"""Settings of the rule service."""

from services.chassis.database import DatabaseSettings
from services.chassis.settings import Port


class Settings(DatabaseSettings):
    """Settings of the rule service."""

    port: Port = 3000
    database_url: str = "sqlite:///data/rule.db"
