"""Migrate the database's tables to this version's schema, or to an earlier one.

Only `relight store upgrade`, and `relight up` for the store in its own home folder, migrate a
store. Everything else refuses a store that has another schema than its own: `require_current`.
"""

import threading
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

from relight.store.database import Database
from relight.store.errors import StoreTooNewError, StoreTooOldError

HEAD = "head"

_ALEMBIC = threading.Lock()
"""Alembic keeps its context in module globals, so one thread at a time can use it."""


def upgrade(database: Database, revision: str = HEAD) -> str | None:
    """Run the missing migrations, all in one transaction; return the revision before them.

    Several processes may call this at once: each waits for the write lock, and the later ones
    find nothing to do.

    Returns:
        None if the database had no tables.

    Raises:
        StoreTooNewError: the tables were made by a newer version.
    """
    with _ALEMBIC, database.connection() as connection:
        before = _revision(connection)
        config = _config()
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, revision)
        except CommandError as error:
            raise _too_new(before) from error
        return before


def downgrade(database: Database, revision: str) -> None:
    """Undo the migrations after `revision`; `base` undoes them all."""
    with _ALEMBIC, database.connection() as connection:
        config = _config()
        config.attributes["connection"] = connection
        command.downgrade(config, revision)


def newest_revision() -> str:
    """Return the revision of this version's schema."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None
    return head


def require_current(database: Database) -> None:
    """Check that the tables have this version's schema. It changes nothing.

    Raises:
        StoreTooOldError: there are no tables yet, or an older version made them.
        StoreTooNewError: a newer version made them.
    """
    found = _found_revision(database)
    scripts = ScriptDirectory.from_config(_config())
    newest = scripts.get_current_head()
    if found is None:
        raise StoreTooOldError(
            "the store has no tables yet: make them with `relight store upgrade`"
            " (`relight up` does it for the store in its home folder)"
        )
    if found not in {script.revision for script in scripts.walk_revisions()}:
        raise _too_new(found)
    if found != newest:
        raise StoreTooOldError(
            f"the store has the tables of an older version of Relight (revision {found}, this"
            f" version needs {newest}): stop the workers of that version, then type"
            " `relight store upgrade`"
        )


def _found_revision(database: Database) -> str | None:
    # Merely opening a SQLite file would create it.
    if database.file is not None and not Path(database.file).exists():
        return None
    with database.reading() as session:
        return _revision(session.connection())


def _revision(connection: Connection) -> str | None:
    """Return the revision of the tables, None if there are none."""
    return MigrationContext.configure(connection).get_current_revision()


def _too_new(found: str | None) -> StoreTooNewError:
    return StoreTooNewError(
        f"the store was made by a newer version of Relight than this one (revision {found}):"
        " use that version"
    )


def _config() -> Config:
    """Return Alembic's configuration, which is in no file."""
    config = Config()
    config.set_main_option("script_location", "relight.store:migrations")
    config.set_main_option("path_separator", "os")
    return config
