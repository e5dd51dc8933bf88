"""What Alembic runs: the migrations, on the connection that `relight.store.migrate` hands it."""

from alembic import context

from relight.store.tables import Row

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Row.metadata,
    # Also on SQLite a migration that fails must leave nothing behind.
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
