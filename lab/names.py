"""The names by which all that a lab sets up in the kernel is known, so that it is found again.

Whatever a lab makes carries its name: no record of it is needed to remove what it left behind.
"""

import re
import zlib
from dataclasses import dataclass

from lab.errors import LabError

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,11}")


@dataclass(frozen=True)
class LabNames:
    """The names of one lab's things.

    Raises:
        LabError: the lab's own name is not one.
    """

    name: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            shape = "at most 12 lower-case letters, digits and hyphens"
            raise LabError(f"{self.name!r} is no name for a lab, which has {shape}")

    @property
    def tag(self) -> str:
        """The mark on links, mounts and the cgroup."""
        return f"relight-lab-{self.name}"

    @property
    def bridge(self) -> str:
        """The bridge: at most 15 characters, as the kernel wants it."""
        return f"rl-{self.name}"

    @property
    def route_metric(self) -> int:
        """The metric of its unreachable route: the one thing about a route that we may choose."""
        return 1 << 31 | zlib.crc32(self.tag.encode()) >> 1

    def machine(self, machine_id: str) -> str:
        """Return the name of a machine's namespace, and of the machine for systemd-nspawn."""
        return f"relight-{self.name}-{machine_id}"

    def is_machine(self, text: str) -> bool:
        """Say whether this names a machine of this lab."""
        return re.fullmatch(rf"relight-{self.name}-[0-9a-f]{{8}}", text) is not None


def link_name(machine_id: str) -> str:
    """Return the name of a machine's link, on this computer's side."""
    return f"rl{machine_id}"
