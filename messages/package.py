"""What is done to a package and its service on a machine."""

from datetime import timedelta

from messages.base import Message
from messages.machine import Machine
from messages.release import Release


class InstallReleaseInput(Message):
    """Install exactly this release's version on the machine, in a detached transaction."""

    machine: Machine
    release: Release
    allow_downgrade: bool = False


class ReleaseInstalled(Message):
    """apt ended well. This is no proof.

    Attributes:
        unit: the transient systemd unit on the host that did it.
        attached: an earlier attempt had started it already, this one only waited for it.
        took: from the unit's start to its end, by the host's clock.
    """

    unit: str
    attached: bool
    took: timedelta


class RestartServiceInput(Message):
    """Make the running process the installed one."""

    machine: Machine
    release: Release


class ServiceRestarted(Message):
    """systemd started the unit anew.

    Attributes:
        invocation_id: systemd's id of the new start.
        was_running: it ran the installed file already and was left alone.
    """

    invocation_id: str
    was_running: bool = False


class ProveReleaseInput(Message):
    """Look at the machine until it has been seen to run the release for long enough."""

    machine: Machine
    release: Release
