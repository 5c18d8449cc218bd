"""Settings of the rule service."""

from pydantic import HttpUrl

from services.chassis.database.engine import DatabaseSettings, DatabaseUrl
from services.chassis.settings import Port


class Settings(DatabaseSettings):
    """Settings of the rule service."""

    port: Port = 3000
    database_url: DatabaseUrl = "sqlite:///data/rule.db"
    # Knative's name for the URL to which a service sends its events.
    k_sink: HttpUrl | None = None
