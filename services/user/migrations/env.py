"""Alembic's entry point: run the revisions on the connection that the service opened."""

from alembic import context

from services.user.models import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, transactional_ddl=False)
context.run_migrations()
