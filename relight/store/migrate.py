"""Migrate the database's tables to this version's schema, or to an earlier one."""

import threading

from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from relight.store.database import Database
from relight.store.errors import StoreTooNewError

HEAD = "head"

_ALEMBIC = threading.Lock()
"""Alembic keeps its context in module globals, so one thread at a time can use it."""


def upgrade(database: Database, revision: str = HEAD) -> None:
    """Run the missing migrations, all in one transaction.

    Several processes may call this at once: each waits for the write lock, and the later ones
    find nothing to do.

    Raises:
        StoreTooNewError: the tables were made by a newer version.
    """
    with _ALEMBIC, database.connection() as connection:
        config = _config()
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, revision)
        except CommandError as error:
            raise StoreTooNewError(
                f"the store was made by a newer version of Relight than this one: {error}"
            ) from error


def downgrade(database: Database, revision: str) -> None:
    """Undo the migrations after `revision`; `base` undoes them all."""
    with _ALEMBIC, database.connection() as connection:
        config = _config()
        config.attributes["connection"] = connection
        command.downgrade(config, revision)


def _config() -> Config:
    """Return Alembic's configuration, which is in no file."""
    config = Config()
    config.set_main_option("script_location", "relight.store:migrations")
    config.set_main_option("path_separator", "os")
    return config
