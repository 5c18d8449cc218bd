"""Connections with PostgreSQL that end by themselves when the server no longer answers."""

from traceback import clear_frames
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus


class Connection(psycopg.Connection[Any]):
    """Gives up, and closes itself, when the server takes too long for an answer."""

    # Seconds for each answer; None waits without limit.
    deadline: float | None = None

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        try:
            return super().wait(gen, interval, timeout or self.deadline)
        except psycopg.OperationalError:
            if self.info.transaction_status == TransactionStatus.ACTIVE:
                # It still waits for this answer, and can take no other statement.
                self.close()
            raise


def connect(_: Any, __: Any, arguments: list[Any], options: dict[str, Any]) -> Connection:
    """Open a connection, as a listener of SQLAlchemy's `do_connect` event does. options: psycopg's, and `deadline`."""
    deadline = options.pop("deadline")
    try:
        connection = Connection.connect(*arguments, **options)
    except psycopg.Error as error:
        # The frames of a failed attempt keep its socket open until the garbage is collected. A frozen server that
        # continues would open a session for each of these sockets.
        clear_frames(error.__traceback__)
        raise
    connection.deadline = deadline
    return connection
