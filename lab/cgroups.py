"""The control groups that hold a lab's processes: one per lab, below it one per machine.

With them a machine ends at once and as a whole, whatever its processes do, and its power can be
cut or its time stopped.
"""

import os
import signal
import time
from pathlib import Path

from lab.errors import LabError

_PATIENCE_SECONDS = 10.0
_V1_OF_SYSTEMD = Path("/sys/fs/cgroup/systemd")


def root() -> Path | None:
    """Return where cgroup v2 is mounted: alone, or beside the hierarchies of v1; else None."""
    for candidate in (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified")):
        if (candidate / "cgroup.subtree_control").exists():
            return candidate
    return None


def folder(tag: str, machine_id: str = "") -> Path:
    """Return the cgroup of a lab, or of one of its machines.

    Raises:
        LabError: there is no cgroup v2 here.
    """
    found = root()
    if found is None:
        raise LabError("cgroup v2 is not mounted here")
    return found / tag / machine_id


def mirror(cgroup: Path) -> Path:
    """Return where systemd-nspawn repeats a cgroup, on computers that still have v1 beside v2."""
    found = root()
    return _V1_OF_SYSTEMD / cgroup.relative_to(found) if found else _V1_OF_SYSTEMD


def pids(cgroup: Path) -> list[int]:
    """Return every process in a cgroup and below it."""
    found: list[int] = []
    for listing in [cgroup / "cgroup.procs", *cgroup.rglob("cgroup.procs")]:
        try:
            found += [int(line) for line in listing.read_text().split()]
        except OSError:  # it went while we looked
            continue
    return sorted(set(found))


def kill(cgroup: Path) -> None:
    """End every process in a cgroup and below it, and wait until none is left.

    Raises:
        LabError: some do not end.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while _populated(cgroup):
        _strike(cgroup)
        if time.monotonic() > deadline:
            raise LabError(f"processes in {cgroup} do not end: {pids(cgroup)}")
        time.sleep(0.005)


def remove(cgroup: Path) -> None:
    """Remove a cgroup that has no processes, those below it, and its mirror.

    Raises:
        LabError: it is still in use.
    """
    for whole in (cgroup, mirror(cgroup)):
        _remove_tree(whole)


def _remove_tree(cgroup: Path) -> None:
    below = sorted((path for path in cgroup.rglob("*") if path.is_dir()), reverse=True)
    for path in [*below, cgroup]:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while path.exists():
            try:
                path.rmdir()
            except FileNotFoundError:
                break
            except OSError as error:  # a process that was killed is still being buried
                if time.monotonic() > deadline:
                    raise LabError(f"{path} cannot be removed: {error}") from error
                time.sleep(0.005)


def _populated(cgroup: Path) -> bool:
    try:
        return "populated 1" in (cgroup / "cgroup.events").read_text()
    except OSError:
        return False


def _strike(cgroup: Path) -> None:
    switch = cgroup / "cgroup.kill"
    if switch.exists():
        switch.write_text("1")
        return
    for pid in pids(cgroup):  # a kernel before 5.14
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
