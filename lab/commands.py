"""Running programs of the system and waiting for their exit."""

import asyncio
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.errors import CommandError

# Output must be English, and programs in sbin must be found for every root user.
_VARIABLES = {"LC_ALL": "C.UTF-8"}
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


def environment(**more: str) -> dict[str, str]:
    """Return the environment for programs of the lab, with these variables added."""
    path = f"{os.environ.get('PATH', '/usr/bin:/bin')}:{_SBIN}"
    return {**os.environ, "PATH": path, **_VARIABLES, **more}


def run(
    *argv: str | Path,
    stdin: str = "",
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> str:
    """Run a program and return its standard output.

    Raises:
        CommandError: its exit code was not 0.
    """
    texts = [str(part) for part in argv]
    done = subprocess.run(  # noqa: S603 - an argv list of the lab, no shell
        texts,
        input=stdin,
        cwd=cwd,
        env=environment(**(env or {})),
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        raise CommandError(texts, done.returncode, done.stderr)
    return done.stdout


async def run_long(*argv: str | Path, env: Mapping[str, str] | None = None) -> None:
    """Run a slow program, with its output on our standard error.

    It is killed when the task is cancelled, and when this process ends, even by SIGKILL.

    Raises:
        CommandError: its exit code was not 0.
    """
    texts = [str(part) for part in argv]
    process = await asyncio.create_subprocess_exec(
        "setpriv",
        "--pdeathsig",
        "KILL",
        "--",
        *texts,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=2,
        stderr=2,
        env=environment(**(env or {})),
        start_new_session=True,
    )
    try:
        code = await process.wait()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if code != 0:
        raise CommandError(texts, code, "see its output above")


def attempt(argv: Sequence[str]) -> bool:
    """Run a program that may fail, and return whether it succeeded."""
    try:
        run(*argv)
    except CommandError:
        return False
    return True
