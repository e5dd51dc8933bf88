"""Running the system's programs, to their end."""

import asyncio
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.errors import CommandError

# What we read is English, and programs in sbin are found for every root.
_ENVIRONMENT = {"LC_ALL": "C.UTF-8"}
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


def environment(**more: str) -> dict[str, str]:
    """Return the environment in which the lab runs programs."""
    path = f"{os.environ.get('PATH', '/usr/bin:/bin')}:{_SBIN}"
    return {**os.environ, "PATH": path, **_ENVIRONMENT, **more}


def run(
    *argv: str | Path,
    stdin: str = "",
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> str:
    """Run a program and return what it wrote.

    Raises:
        CommandError: it failed.
    """
    texts = [str(part) for part in argv]
    done = subprocess.run(
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
    """Run a program that takes its time, its output on our stderr; a cancel ends it.

    It dies with us, whatever our end is.

    Raises:
        CommandError: it failed.
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
        raise CommandError(texts, code, "its output stands above")


def attempt(argv: Sequence[str]) -> bool:
    """Run a program whose failure is an answer too, and say whether it succeeded."""
    try:
        run(*argv)
    except CommandError:
        return False
    return True
