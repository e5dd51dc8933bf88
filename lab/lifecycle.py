"""A lab from the outside: whether it can be carried here, what it left behind, its removal.

Light, as the command line asks it on every computer. All that a lab makes is found by the lab's
name, so a lab that was killed, and even one whose state folder is gone, is removed as well.
"""

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lab import cgroups, locks, mounts, network
from lab.errors import LabError
from lab.names import LabNames
from lab.preflight import preflight

__all__ = ["LAB_FILE", "MACHINES", "leftovers", "preflight", "remove_leftovers", "sweep"]

LAB_FILE = "lab.json"
"""Where a lab that answers says so, in its state folder."""

MACHINES = "machines"
"""Where a lab keeps its machines' layers, in its state folder."""

_STOP_SECONDS = 60.0
_NSPAWN = Path("/run/systemd/nspawn")


@dataclass(frozen=True)
class Leftover:
    """Something that a lab made, and how it goes."""

    what: str
    remove: Callable[[], None]


def leftovers(name: str, state: Path) -> list[str]:
    """Return everything there is of the lab of this name, one line each; it may be running.

    Raises:
        LabError: that is no name for a lab.
    """
    return [leftover.what for leftover in _leftovers(LabNames(name), state)]


def sweep(name: str, state: Path) -> list[str]:
    """End the lab of this name if it runs, and remove all that is left of it.

    Args:
        name: the lab's name.
        state: its state folder, which itself stays.

    Returns:
        What was there, one line each.

    Raises:
        LabError: something cannot be removed, or the running lab does not end.
    """
    names = LabNames(name)
    if not _can_exist():
        return []
    found = _stop(name) + remove_leftovers(names, state)
    if locks.remove_stale(name):
        found.append(f"lock file {locks.serving_file(name)}")
    return found


def remove_leftovers(names: LabNames, state: Path) -> list[str]:
    """Remove all that is left of a lab that does not run, and return what was there.

    Raises:
        LabError: something cannot be removed.
    """
    removed = []
    # Once more: what was being made when its maker was killed may have come up meanwhile.
    for _ in range(2):
        for leftover in _leftovers(names, state):
            leftover.remove()
            removed.append(leftover.what)
    return removed


def _can_exist() -> bool:
    """Say whether a lab could ever have run here: elsewhere there is nothing to look for."""
    return cgroups.root() is not None and os.geteuid() == 0 and shutil.which("ip") is not None


def _leftovers(names: LabNames, state: Path) -> Iterator[Leftover]:
    """Return what is left, in the order in which it can be removed."""
    if not _can_exist():
        return
    yield from _left_processes(names)
    for at in mounts.mounted(names.tag):
        yield Leftover(f"mount {at}", partial(mounts.unmount, at))
    yield from _left_network(names)
    yield from _left_files(names, state)


def _left_processes(names: LabNames) -> Iterator[Leftover]:
    cgroup = cgroups.folder(names.tag)
    if not cgroup.is_dir() and not cgroups.mirror(cgroup).is_dir():
        return
    if running := cgroups.pids(cgroup):
        yield Leftover(f"{len(running)} processes in {cgroup}", partial(cgroups.kill, cgroup))
    yield Leftover(f"cgroup {cgroup}", partial(cgroups.remove, cgroup))


def _left_network(names: LabNames) -> Iterator[Leftover]:
    for link in network.links(names):
        yield Leftover(f"link {link}", partial(network.remove_link, link))
    for space in network.namespaces(names):
        yield Leftover(f"network namespace {space}", partial(network.remove_namespace, space))
    for target in network.routes(names):
        yield Leftover(f"unreachable route {target}", partial(network.remove_route, names, target))


def _left_files(names: LabNames, state: Path) -> Iterator[Leftover]:
    entries = sorted(_NSPAWN.glob("*/*")) if _NSPAWN.is_dir() else []
    for entry in entries:
        if names.is_machine(entry.name):
            yield Leftover(str(entry), partial(_remove_entry, entry))
    for path in (state / LAB_FILE, state / MACHINES):
        if path.exists():
            yield Leftover(str(path), partial(_remove_entry, path))


def _remove_entry(entry: Path) -> None:
    mounts.unmount(entry)  # newer systemd mounts a tmpfs there
    if entry.is_dir():
        shutil.rmtree(entry)
    else:
        entry.unlink(missing_ok=True)


def _stop(name: str) -> list[str]:
    """Ask the process that serves a lab to end, and wait for it."""
    pid = locks.serving_pid(name)
    if pid is None or pid == os.getpid():
        return []
    deadline = time.monotonic() + _STOP_SECONDS
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return []
    while locks.serving_pid(name) == pid:
        if time.monotonic() > deadline:
            raise LabError(f"process {pid}, which serves the lab {name!r}, does not end")
        time.sleep(0.02)
    return [f"process {pid}, which served it"]
