"""A home folder of the bench's own, of which nothing is left."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def fresh_home() -> Iterator[Path]:
    """Make a home folder for Relight, and have this process and its children use it.

    What the environment says of another installation is taken away for good.
    """
    for name in [name for name in os.environ if name.startswith(("RELIGHT_", "TEMPORAL_"))]:
        if name != "RELIGHT_LAB_CACHE":
            del os.environ[name]
    # Everybody's bytecode is kept, as that of installed programs is.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    home = Path(tempfile.mkdtemp(prefix="rlb-"))  # short: gpg's agent has a socket below it
    os.environ["RELIGHT_HOME"] = str(home)
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)
