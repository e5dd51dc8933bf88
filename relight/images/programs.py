"""Programs of this computer that the build of an image runs."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from relight.domain.text import visible_tail

_MAX_ANSWER_BYTES = 2000
# Programs in sbin must be found for every root user.
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


class ImageBuildError(Exception):
    """An image cannot be built; the text says why."""


def run(
    *argv: str | Path,
    stdin: str = "",
    variables: Mapping[str, str] | None = None,
    shown: bool = False,
) -> str:
    """Run a program, and return its standard output.

    Args:
        argv: the program and its arguments, without a shell.
        stdin: its input.
        variables: of its environment, besides ours.
        shown: whether its output goes to our standard error instead of being returned.

    Raises:
        ImageBuildError: it does not exist, or its exit code was not 0; with the end of its output.
    """
    words = [str(word) for word in argv]
    # What takes minutes ends with this process, even by SIGKILL.
    started = ["setpriv", "--pdeathsig", "KILL", "--", *words] if shown else words
    path = f"{os.environ.get('PATH', os.defpath)}:{_SBIN}"
    # LANGUAGE counts before LC_ALL.
    inherited = {key: os.environ[key] for key in os.environ if key != "LANGUAGE"}
    try:
        ended = subprocess.run(  # noqa: S603 - argv of our own, without a shell
            started,
            input=stdin,
            env={**inherited, "PATH": path, "LC_ALL": "C.UTF-8", **(variables or {})},
            stdout=2 if shown else subprocess.PIPE,
            stderr=2 if shown else subprocess.PIPE,
            text=True,
            errors="replace",
            check=False,
        )
    except FileNotFoundError:
        raise ImageBuildError(f"this computer has no {started[0]}") from None
    if ended.returncode != 0:
        said = "see its output above" if shown else visible_tail(ended.stderr, _MAX_ANSWER_BYTES)
        raise ImageBuildError(f"{' '.join(words)} exited with {ended.returncode}: {said}")
    return ended.stdout or ""
