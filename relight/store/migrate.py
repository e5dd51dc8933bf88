"""Brings the database's tables to this version's shape, or to an earlier one."""

from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from relight.store.database import Database
from relight.store.errors import StoreTooNewError

HEAD = "head"


def upgrade(database: Database, revision: str = HEAD) -> None:
    """Run the migrations that are missing, all in one transaction.

    Several processes may do so at once: each waits for its turn, and finds nothing to do.

    Raises:
        StoreTooNewError: a newer version has been here.
    """
    with database.connection() as connection:
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
    with database.connection() as connection:
        config = _config()
        config.attributes["connection"] = connection
        command.downgrade(config, revision)


def _config() -> Config:
    """Return Alembic's configuration, which stands in no file."""
    config = Config()
    config.set_main_option("script_location", "relight.store:migrations")
    config.set_main_option("path_separator", "os")
    return config
