"""The home folder: what is in it, and what a command finds there. Only `up` and `init` make one."""

import fcntl
from pathlib import Path

from relight.context import ENVIRONMENT, LOCAL, Context, saved_contexts
from relight.engine.errors import NoHomeError
from relight.settings import Settings
from relight.store_address import store_address

_MADE_FIRST = ("host_key_secret", "env", "fleet.db", "temporal.toml")


def is_home(home: Path) -> bool:
    """Return whether a folder is a home folder, even one whose `relight up` has failed."""
    return any((home / name).exists() for name in _MADE_FIRST)


def home_profile(home: Path) -> Path:
    """Return the file in which `relight up` writes the address of its Temporal server."""
    return home / "temporal.toml"


def temporal_lock(home: Path) -> Path:
    """Return the file that the home folder's own Temporal server keeps locked while it runs."""
    return home / "temporal.lock"


def own_temporal_runs(home: Path) -> bool:
    """Return whether the home folder's own Temporal server runs.

    The address that the home folder has is not enough: after a crash, another server may answer
    there.
    """
    try:
        lock = temporal_lock(home).open()
    except FileNotFoundError:
        return False
    with lock:
        try:
            # Shared: commands that ask at the same time do not take each other for the server.
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def existing_store_url(settings: Settings) -> str:
    """Return the store's address. It makes neither a home folder nor a store.

    Raises:
        NoHomeError: no store is set, and the home folder has none.
    """
    home = settings.home
    if not settings.has_embedded_store or settings.store_file.exists():
        return store_address(settings)
    if is_home(home):
        msg = (
            f"the home {home} has no store: its `relight up` has failed or is not complete, see"
            f" {home / 'logs'}. Nothing was done. Type `relight up` (or `relight init`, for a"
            " Temporal of your own)"
        )
        raise NoHomeError(msg)
    raise NoHomeError(no_home(settings.context))


def no_home(context: Context) -> str:
    """Return the message that there is no home folder: where it was looked for, what to type."""
    if context.name in {"", LOCAL}:
        where = "in the current folder, as RELIGHT_HOME is not set"
    elif context.name == ENVIRONMENT and "RELIGHT_HOME" in context.chosen_by:
        where = "which RELIGHT_HOME names"
    elif context.name == ENVIRONMENT:
        where = f"in the current folder, as {context.chosen_by} is set and RELIGHT_HOME is not"
    else:
        where = f"of the context {context.name}"
    names = ", ".join(sorted(saved_contexts().contexts))
    return (
        f"there is no fleet here: {context.home}, {where}, is no home of Relight. Nothing was done."
        " Go to the folder of your fleet, or name its context"
        f" ({names or 'none is saved'}) with `relight context use`, or set RELIGHT_HOME (or"
        " RELIGHT_STORE_URL and TEMPORAL_ADDRESS). A new fleet is made by `relight up`, or by"
        " `relight init` for a Temporal of your own"
    )


def home_is_down(home: Path) -> str:
    """Return the message that the home folder's own Temporal server does not run."""
    return (
        f"the home {home} is down: its Temporal server does not run (its `relight up` was stopped,"
        f" or has failed: see {home / 'logs'}). `relight up` starts it"
    )
