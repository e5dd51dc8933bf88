"""The packaged service that runs on every host."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True)
class Service:
    """What is installed, started and proven on a host.

    Attributes:
        package: the Debian package.
        unit: the systemd unit that the package contains.
        executable: the file that the unit's main process runs.
        stability_window: how long one start of the unit must be observed before it is proven.
        change_deadline: after which time a host stops a change of the package.
        packages: further packages that a change moves with it: to the version of the same source,
            or to the newest one.
    """

    package: str
    unit: str
    executable: str
    stability_window: timedelta
    change_deadline: timedelta = timedelta(minutes=10)
    packages: tuple[str, ...] = ()
