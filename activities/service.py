"""The packaged daemon, as the activities need to know it."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True)
class Service:
    """What is installed, started and proven on a host.

    Attributes:
        package: the Debian package.
        unit: the systemd unit that the package carries.
        executable: the file that the unit's main process runs.
        stability_window: how long the unit must be seen to run before it is proven.
    """

    package: str
    unit: str
    executable: str
    stability_window: timedelta
