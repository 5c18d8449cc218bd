"""Settings of the rule service."""

from services.chassis.database.engine import DatabaseSettings, DatabaseUrl
from services.chassis.settings import Port


class Settings(DatabaseSettings):
    """Settings of the rule service."""

    port: Port = 3000
    database_url: DatabaseUrl = "sqlite:///data/rule.db"
