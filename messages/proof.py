"""Proof: a fresh record of what a machine was seen to run."""

from datetime import datetime, timedelta

from messages.base import Message
from messages.names import ReleaseTag


class Proof(Message):
    """What was seen on a machine. Only this writes a route's `current_release_tag`.

    Attributes:
        release_tag: the release that was proven.
        version: the Debian version that dpkg reports, its status being `ii`.
        executable: the file that the unit's main process runs, being the one now on disk.
        invocation_id: systemd's id of the unit's start that was observed.
        restarts: the unit's restart counter, unchanged over `stable_for`.
        stable_for: how long the unit was watched.
        probe: the health probe that passed, as in `GET http://198.18.0.2:8899/healthz: 200`.
        observed_at: when the last look was taken, UTC.
    """

    release_tag: ReleaseTag
    version: str
    executable: str
    invocation_id: str
    restarts: int
    stable_for: timedelta
    probe: str
    observed_at: datetime
