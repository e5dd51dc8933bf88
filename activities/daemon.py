"""The packaged daemon, as the activities need to know it."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True)
class Daemon:
    """What is proven on a host.

    Attributes:
        unit: the systemd unit that the package carries.
        executable: the file that the unit's main process runs.
        probe_port: where the health probe asks, from the control plane.
        probe_path: what it asks for, over HTTP.
        probe_timeout: how long one answer may take.
        stability_window: how long the unit must be seen to run before it is proven.
    """

    unit: str
    executable: str
    probe_port: int
    probe_path: str
    probe_timeout: timedelta
    stability_window: timedelta
