"""Overlay mounts: a machine's own layer over the base image that all share."""

import re
import time
from pathlib import Path

from lab.commands import run
from lab.errors import CommandError, LabError

_PATIENCE_SECONDS = 2.0


def mount_overlay(tag: str, *, lower: Path, upper: Path, work: Path, at: Path) -> None:
    """Mount `upper` over `lower`. The lab's tag is its source, by which it is found again.

    It is volatile: nothing is synced to the disk, as nothing outlives the machine.

    Raises:
        LabError: it cannot be mounted.
    """
    for path in (lower, upper, work):
        if re.search(r"[:,\\]", str(path)):
            raise LabError(f"overlays take no path with a colon, comma or backslash: {path}")
    options = f"lowerdir={lower},upperdir={upper},workdir={work},volatile"
    run("mount", "-t", "overlay", tag, "-o", options, at)


def mounted(tag: str) -> list[Path]:
    """Return where something is mounted whose source is this lab, the deepest first."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, tail = line.partition(" - ")
        if tail.split(" ")[1] == tag:
            found.append(Path(_unescaped(fields.split(" ")[4])))
    return sorted(found, reverse=True)


def is_mounted(at: Path) -> bool:
    """Say whether something is mounted exactly there."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return str(at) in {_unescaped(line.split(" ")[4]) for line in lines}


def unmount(at: Path) -> None:
    """Unmount what is mounted there; nothing there is fine.

    Raises:
        LabError: it does not come off.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while is_mounted(at):
        try:
            run("umount", at)
        except CommandError:
            # The mount namespace of a machine that was just killed may still hold it.
            if time.monotonic() > deadline:
                run("umount", "--lazy", at)
            time.sleep(0.01)


def _unescaped(path: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), path)
