"""Looking into a machine from this computer, past its network: what is true there."""

from collections.abc import Sequence
from pathlib import Path

from lab.errors import LabError
from lab.lifecycle import MACHINES


def leader_file(folder: Path) -> Path:
    """Return the file with the process id of a machine's init, in the machine's folder."""
    return folder / "leader"


def leader(state: Path, machine_id: str) -> int:
    """Return the process id of a machine's init, as this computer counts.

    Raises:
        LabError: the machine has not been started.
    """
    try:
        return int(leader_file(state / MACHINES / machine_id).read_text())
    except FileNotFoundError:
        raise LabError(f"machine {machine_id} has not been started") from None


def inside(state: Path, machine_id: str, argv: Sequence[str]) -> list[str]:
    """Return the command that runs `argv` inside a machine, as its root.

    Raises:
        LabError: the machine has not been started.
    """
    target = f"--target={leader(state, machine_id)}"
    spaces = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup")
    path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"
    enter = ("nsenter", target, *spaces, "--root", "--wdns=/")
    return [*enter, "--", "env", "-i", path, "HOME=/root", "LC_ALL=C.UTF-8", *argv]
