"""Commands inside a machine, run from this computer without the machine's network."""

from collections.abc import Sequence
from pathlib import Path

from lab.errors import LabError
from lab.lifecycle import MACHINES


def leader_file(folder: Path) -> Path:
    """Return the file that contains the process id of a machine's init."""
    return folder / "leader"


def leader(state: Path, machine_id: str) -> int:
    """Return the process id of a machine's init, in this computer's namespace.

    Raises:
        LabError: the machine has not been started.
    """
    try:
        return int(leader_file(state / MACHINES / machine_id).read_text())
    except FileNotFoundError:
        raise LabError(f"machine {machine_id} has not been started") from None


def inside(state: Path, machine_id: str, argv: Sequence[str]) -> list[str]:
    """Return the command that runs `argv` inside a machine, as root.

    Raises:
        LabError: the machine has not been started.
    """
    target = f"--target={leader(state, machine_id)}"
    namespaces = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup")
    path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"
    enter = ("nsenter", target, *namespaces, "--root", "--wdns=/")
    return [*enter, "--", "env", "-i", path, "HOME=/root", "LC_ALL=C.UTF-8", *argv]
