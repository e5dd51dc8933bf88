"""The control groups of a lab's processes: one per lab, with one below it per machine.

Killing a cgroup ends a machine immediately and completely, whatever its processes do. It can also
simulate a power cut, and freezing it simulates a hang.
"""

import os
import signal
import time
from pathlib import Path

from lab.errors import LabError

_TIMEOUT_SECONDS = 10.0
_V1_OF_SYSTEMD = Path("/sys/fs/cgroup/systemd")


def root() -> Path | None:
    """Return the mount point of cgroup v2, alone or beside the v1 hierarchies; None without v2."""
    for candidate in (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified")):
        if (candidate / "cgroup.subtree_control").exists():
            return candidate
    return None


def folder(tag: str, machine_id: str = "") -> Path:
    """Return the cgroup of a lab, or of one of its machines.

    Raises:
        LabError: cgroup v2 is not mounted.
    """
    found = root()
    if found is None:
        raise LabError("cgroup v2 is not mounted here")
    return found / tag / machine_id


def mirror(cgroup: Path) -> Path:
    """Return the copy of a cgroup that systemd-nspawn makes on computers with v1 beside v2."""
    found = root()
    return _V1_OF_SYSTEMD / cgroup.relative_to(found) if found else _V1_OF_SYSTEMD


def pids(cgroup: Path) -> list[int]:
    """Return the ids of all processes in a cgroup and below it."""
    found: list[int] = []
    for listing in [cgroup / "cgroup.procs", *cgroup.rglob("cgroup.procs")]:
        try:
            found += [int(line) for line in listing.read_text().split()]
        except OSError:  # the cgroup was removed meanwhile
            continue
    return sorted(set(found))


def kill(cgroup: Path) -> None:
    """Kill all processes in a cgroup and below it, and wait until they have ended.

    Raises:
        LabError: some have not ended after 10 seconds.
    """
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    while _populated(cgroup):
        _send_kill(cgroup)
        if time.monotonic() > deadline:
            raise LabError(f"processes in {cgroup} do not end: {pids(cgroup)}")
        time.sleep(0.005)


def remove(cgroup: Path) -> None:
    """Remove a cgroup without processes, those below it, and its mirror.

    Raises:
        LabError: it is still in use.
    """
    for whole in (cgroup, mirror(cgroup)):
        _remove_tree(whole)


def _remove_tree(cgroup: Path) -> None:
    below = sorted((path for path in cgroup.rglob("*") if path.is_dir()), reverse=True)
    for path in [*below, cgroup]:
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while path.exists():
            try:
                path.rmdir()
            except FileNotFoundError:
                break
            except OSError as error:  # the kernel still removes a killed process
                if time.monotonic() > deadline:
                    raise LabError(f"{path} cannot be removed: {error}") from error
                time.sleep(0.005)


def _populated(cgroup: Path) -> bool:
    try:
        return "populated 1" in (cgroup / "cgroup.events").read_text()
    except OSError:
        return False


def _send_kill(cgroup: Path) -> None:
    switch = cgroup / "cgroup.kill"
    if switch.exists():
        switch.write_text("1")
        return
    for pid in pids(cgroup):  # a kernel older than 5.14
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
