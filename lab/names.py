"""The names of everything that a lab creates in the kernel.

All of them contain the lab's name, so leftovers can be found and removed without a record.
"""

import re
import zlib
from dataclasses import dataclass

from lab.errors import LabError

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,11}")


@dataclass(frozen=True)
class LabNames:
    """The names of one lab.

    Raises:
        LabError: the lab's name is not valid.
    """

    name: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            rule = "use at most 12 lower-case letters, digits and hyphens"
            raise LabError(f"{self.name!r} is not a valid name for a lab: {rule}")

    @property
    def tag(self) -> str:
        """The tag of links, mounts and the cgroup."""
        return f"relight-lab-{self.name}"

    @property
    def bridge(self) -> str:
        """The name of the bridge; the kernel allows at most 15 characters."""
        return f"rl-{self.name}"

    @property
    def route_metric(self) -> int:
        """The metric of its unreachable route, the only field of a route that can name a lab."""
        return 1 << 31 | zlib.crc32(self.tag.encode()) >> 1

    def machine(self, machine_id: str) -> str:
        """Return the name of a machine's network namespace, also its name for systemd-nspawn."""
        return f"relight-{self.name}-{machine_id}"

    def is_machine(self, text: str) -> bool:
        """Return whether this is the name of a machine of this lab."""
        return re.fullmatch(rf"relight-{self.name}-[0-9a-f]{{8}}", text) is not None


def link_name(machine_id: str) -> str:
    """Return the name of a machine's link on this computer."""
    return f"rl{machine_id}"
