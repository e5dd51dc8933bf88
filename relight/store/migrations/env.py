"""Run by Alembic: the migrations, on the connection that `relight.store.migrate` passes."""

from alembic import context

from relight.store.tables import Row

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Row.metadata,
    # A failed migration must leave nothing behind, on SQLite too.
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
