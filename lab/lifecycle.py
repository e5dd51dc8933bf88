"""A lab from the outside: whether it can run here, its leftovers, and its removal.

The imports are light, because the command line uses this on every computer. Everything that a lab
creates is found by the lab's name. So a killed lab can be removed, even without its state folder.
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
"""The file in a lab's state folder with the addresses of a lab that is ready."""

MACHINES = "machines"
"""The folder in a lab's state folder with one folder per machine."""

_STOP_SECONDS = 60.0
_NSPAWN = Path("/run/systemd/nspawn")


@dataclass(frozen=True)
class Leftover:
    """Something that a lab created.

    Attributes:
        what: its description, one line.
        remove: removes it.
    """

    what: str
    remove: Callable[[], None]


def leftovers(name: str, state: Path) -> list[str]:
    """Return everything that a lab created, one line each. The lab may be running.

    Raises:
        LabError: the name is not valid.
    """
    return [leftover.what for leftover in _leftovers(LabNames(name), state)]


def sweep(name: str, state: Path) -> list[str]:
    """Stop a lab if it runs, and remove all its leftovers.

    Args:
        name: the lab's name.
        state: its state folder. The folder itself is not removed.

    Returns:
        What was removed, one line each.

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
    """Remove the leftovers of a lab that does not run, and return them, one line each.

    Raises:
        LabError: something cannot be removed.
    """
    removed = []
    # Twice: something that was being created when the lab was killed may appear later.
    for _ in range(2):
        for leftover in _leftovers(names, state):
            leftover.remove()
            removed.append(leftover.what)
    return removed


def _can_exist() -> bool:
    """Return whether a lab can have run on this computer; otherwise there are no leftovers."""
    return cgroups.root() is not None and os.geteuid() == 0 and shutil.which("ip") is not None


def _leftovers(names: LabNames, state: Path) -> Iterator[Leftover]:
    """Return the leftovers, in the order in which they can be removed."""
    if not _can_exist():
        return
    yield from _left_processes(names)
    for path in mounts.mounted(names.tag):
        yield Leftover(f"mount {path}", partial(mounts.unmount, path))
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
    for namespace in network.namespaces(names):
        remove = partial(network.remove_namespace, namespace)
        yield Leftover(f"network namespace {namespace}", remove)
    for destination in network.routes(names):
        remove = partial(network.remove_route, names, destination)
        yield Leftover(f"unreachable route {destination}", remove)


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
    """Send SIGTERM to the process that serves a lab, and wait until it ends."""
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
