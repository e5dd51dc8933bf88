"""Programs of this computer that make and check the disk of an image."""

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path

from relight.domain.text import visible_tail

_MAX_ANSWER_BYTES = 2000

# Programs in sbin must be found for every root user.
SBIN = "/usr/local/sbin:/usr/sbin:/sbin"

_PACKAGES = {
    "apt-config": "apt",
    "apt-get": "apt",
    "arch-test": "arch-test",
    "debugfs": "e2fsprogs",
    "dumpe2fs": "e2fsprogs",
    "mcopy": "mtools",
    "mke2fs": "e2fsprogs",
    "mkfs.vfat": "dosfstools",
    "mmdebstrap": "mmdebstrap",
    "qemu-aarch64-static": "qemu-user-static",
    "qemu-img": "qemu-utils",
    "setpriv": "util-linux",
    "sfdisk": "fdisk",
    "ssh": "openssh-client",
    "systemctl": "systemd",
    "unshare": "util-linux",
}
"""Debian's package of each program."""

BUILD_PROGRAMS = (
    *("apt-config", "apt-get", "debugfs", "dumpe2fs", "mcopy", "mke2fs", "mkfs.vfat", "mmdebstrap"),
    *("qemu-img", "setpriv", "sfdisk", "systemctl", "unshare"),
)
"""What a build runs."""

EMULATOR_PROGRAMS = {"arm64": ("arch-test", "qemu-aarch64-static")}
"""What a build runs besides for another architecture than that of this computer."""


class ImageBuildError(Exception):
    """An image cannot be built; the text says why."""


class NoRootError(Exception):
    """Only root can do it; the text says why."""


class NoProgramError(Exception):
    """A program that is needed is not installed; the text names it and its package."""

    def __init__(self, *names: str) -> None:
        packages = sorted({_PACKAGES[name] for name in names if name in _PACKAGES})
        install = f": `apt-get install {' '.join(packages)}`" if packages else ""
        words = "program" if len(names) == 1 else "programs"
        super().__init__(f"there is no {words} {', '.join(names)} here{install}")


def require_programs(names: Iterable[str]) -> None:
    """Require that programs are installed.

    Raises:
        NoProgramError: one of them is not; with all that are missing.
    """
    missing = sorted(name for name in names if shutil.which(name, path=_path()) is None)
    if missing:
        raise NoProgramError(*missing)


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
        ImageBuildError: its exit code was not 0; with the end of its output.
        NoProgramError: it does not exist.
    """
    ended = completed(*argv, stdin=stdin, variables=variables, shown=shown)
    if ended.returncode != 0:
        said = "see its output above" if shown else visible_tail(ended.stderr, _MAX_ANSWER_BYTES)
        words = " ".join(map(str, argv))
        raise ImageBuildError(f"{words} exited with {ended.returncode}: {said}")
    return ended.stdout or ""


def completed(
    *argv: str | Path,
    stdin: str = "",
    variables: Mapping[str, str] | None = None,
    shown: bool = False,
    timeout: timedelta | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program, and return how it ended; the arguments are those of `run`.

    Raises:
        NoProgramError: it does not exist.
        subprocess.TimeoutExpired: it did not end within `timeout`, and was killed.
    """
    words = [str(word) for word in argv]
    # What takes minutes ends with this process, even by SIGKILL.
    started = ["setpriv", "--pdeathsig", "KILL", "--", *words] if shown else words
    # LANGUAGE counts before LC_ALL.
    inherited = {key: os.environ[key] for key in os.environ if key != "LANGUAGE"}
    try:
        return subprocess.run(  # noqa: S603 - argv of our own, without a shell
            started,
            input=stdin,
            env={**inherited, "PATH": _path(), "LC_ALL": "C.UTF-8", **(variables or {})},
            stdout=2 if shown else subprocess.PIPE,
            stderr=2 if shown else subprocess.PIPE,
            text=True,
            errors="replace",
            check=False,
            timeout=timeout.total_seconds() if timeout else None,
        )
    except FileNotFoundError:
        raise NoProgramError(started[0]) from None


def _path() -> str:
    return f"{os.environ.get('PATH', os.defpath)}:{SBIN}"
