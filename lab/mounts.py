"""Overlay mounts: a machine's own layer over the shared image."""

import re
import time
from collections.abc import Sequence
from pathlib import Path

from lab.commands import run
from lab.errors import CommandError, LabError

_TIMEOUT_SECONDS = 2.0


def mount_overlay(
    tag: str, *, lowers: Sequence[Path], upper: Path, work: Path, target: Path
) -> None:
    """Mount `upper` over `lowers`, topmost first, at `target`.

    The mount's source is the lab's tag, by which `mounted` finds it. The mount is volatile: nothing
    is synced to the disk, because the machine's disk is deleted with the machine.

    Raises:
        LabError: mounting failed.
    """
    for path in (*lowers, upper, work):
        if re.search(r"[:,\\]", str(path)):
            raise LabError(f"an overlay cannot use a path with colon, comma or backslash: {path}")
    lower = ":".join(map(str, lowers))
    options = f"lowerdir={lower},upperdir={upper},workdir={work},volatile"
    run("mount", "-t", "overlay", tag, "-o", options, target)


def mounted(tag: str) -> list[Path]:
    """Return the mount points whose source is this lab's tag, deepest first."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, tail = line.partition(" - ")
        if tail.split(" ")[1] == tag:
            found.append(Path(_unescaped(fields.split(" ")[4])))
    return sorted(found, reverse=True)


def is_mounted(path: Path) -> bool:
    """Return whether a path is a mount point."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return str(path) in {_unescaped(line.split(" ")[4]) for line in lines}


def unmount(path: Path) -> None:
    """Unmount everything at a mount point; a path without a mount is not an error.

    Raises:
        LabError: unmounting failed.
    """
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    while is_mounted(path):
        try:
            run("umount", path)
        except CommandError:
            # The mount namespace of a machine that was just killed may still use it.
            if time.monotonic() > deadline:
                run("umount", "--lazy", path)
            time.sleep(0.01)


def _unescaped(path: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), path)
