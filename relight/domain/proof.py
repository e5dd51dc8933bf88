"""Proof: a fresh record of what a machine was seen to run."""

from datetime import datetime, timedelta

from relight.domain.base import Message, Origin
from relight.domain.machine import Machine
from relight.domain.names import ReleaseTag, RouteId
from relight.domain.release import Release


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


class SwapReleaseInput(Message):
    """Bring the machine to exactly this release's version, in a detached transaction, and prove it.

    Attributes:
        route_id: the route that the machine serves or will serve, None for one of the pool.
        allow_downgrade: whether it may take the place of a newer version.
        rollout: the workflow id of the rollout that asks, None for an operator's own swap.
    """

    route_id: RouteId | None
    machine: Machine
    release: Release
    origin: Origin
    allow_downgrade: bool = False
    rollout: str | None = None


class ReleaseSwapped(Message):
    """The machine was changed, and proven.

    Attributes:
        unit: the transient systemd unit on the host that did it.
        attached: an earlier attempt had begun it already, this one only waited for it.
        took: from the unit's start to its end, by the host's clock.
    """

    unit: str
    attached: bool
    took: timedelta
    proof: Proof


class ProveReleaseInput(Message):
    """Look at the machine until it has been seen to run the release for long enough.

    Attributes:
        rollout: the workflow id of the rollout that asks, None for nobody's.
    """

    machine: Machine
    release: Release
    rollout: str | None = None


# MERGEDOC """What is done to a package and its service on a machine."""
