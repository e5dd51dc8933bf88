"""The packaged service that runs on every host."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class OnChange(StrEnum):
    """How units take a changed package.

    Attributes:
        RESTART: each is restarted, or started.
        RELOAD: one that runs is reloaded, and its old processes may end by themselves.
        TRY_RESTART: one that runs is restarted; the host decides which units run.
    """

    RESTART = "restart"
    RELOAD = "reload"
    TRY_RESTART = "try-restart"


@dataclass(frozen=True)
class Service:
    """What is installed, started and proven on a host.

    Attributes:
        package: the Debian package.
        unit: the systemd unit that the package contains, or a pattern of a template's instances, as
            in `lantern-box@*.service`.
        executable: the file that a main process runs, a program or a script; empty: a file of the
            package, or of another one.
        stability_window: how long one start of the unit must be observed before it is proven.
        change_deadline: after which time a host stops a change of the package.
        packages: further packages that a change moves with it: to the version of the same source,
            or to the newest one.
        more_units: further units of the package: services, patterns and sockets.
        on_change: how the units take a changed package.
        state_files: shell patterns of files of the package that the service changes itself.
    """

    package: str
    unit: str
    executable: str
    stability_window: timedelta
    change_deadline: timedelta = timedelta(minutes=10)
    packages: tuple[str, ...] = ()
    more_units: tuple[str, ...] = ()
    on_change: OnChange = OnChange.RESTART
    state_files: tuple[str, ...] = ()
