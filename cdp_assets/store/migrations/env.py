"""Runs migrations on the connection that `Store.migrate` hands in, inside its transaction."""

from alembic import context

from cdp_assets.store.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    transactional_ddl=True,
)
context.run_migrations()
