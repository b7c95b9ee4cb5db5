"""Run by Alembic, with the locked connection that `tournant.adapters.sql.migrate` gives it."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
