"""Proof: a fresh record of what a machine was observed to run."""

from datetime import datetime, timedelta

from relight.domain.base import Message, Origin
from relight.domain.machine import Machine
from relight.domain.names import ReleaseTag, RouteId
from relight.domain.release import Release


class Proof(Message):
    """What was observed on a machine. Only a proof writes a route's `current_release_tag`.

    Attributes:
        release_tag: the proven release.
        version: the Debian version that dpkg reports with status `ii`.
        executable: the file that the unit's main process runs; it is the file now on disk, or an
            interpreter that started after the change. Empty if the unit has no process.
        invocation_id: systemd's id of the observed start of the (first) unit.
        restarts: the restart counter of all units, unchanged over `stable_for`.
        stable_for: how long the unit was observed.
        probe: the health probe that passed, as in `GET http://198.18.0.2:8899/healthz: 200`.
        observed_at: time of the last observation, UTC.
        sha256: of the .deb that the host installed, as it recorded then; empty if that is unknown.
        configuration: the digest of the configuration that the service has taken, with its secrets;
            empty if it has none of ours. The release names the revision.
        settings_sha256: of the host's settings, keyed with its host key; empty if that is unknown.
    """

    release_tag: ReleaseTag
    version: str
    executable: str
    invocation_id: str
    restarts: int
    stable_for: timedelta
    probe: str
    observed_at: datetime
    sha256: str = ""
    configuration: str = ""
    settings_sha256: str = ""


class NewerRelease(Message):
    """A host runs a newer release than the record has ever named for its route.

    Attributes:
        version: the Debian version that is completely installed there.
        summary: one sentence for a person.
    """

    version: str
    summary: str


class SwapReleaseInput(Message):
    """Install exactly this release on the machine, in a detached transaction, and prove it.

    Attributes:
        route_id: the route that the machine serves or will serve, None for a pool machine.
        allow_downgrade: whether the release may replace a newer version.
        rollout: the workflow id of the rollout that requests it, None for an operator's own swap.
    """

    route_id: RouteId | None
    machine: Machine
    release: Release
    origin: Origin
    allow_downgrade: bool = False
    rollout: str | None = None


class ReleaseSwapped(Message):
    """The release is installed and proven.

    Attributes:
        unit: the transient systemd unit that ran the transaction on the host.
        attached: the transaction was started by an earlier attempt; this one only waited for it.
        took: from the unit's start to its end, by the host's clock.
    """

    unit: str
    attached: bool
    took: timedelta
    proof: Proof


class ProveReleaseInput(Message):
    """Observe the machine until it has run the release for long enough.

    Attributes:
        rollout: the workflow id of the rollout that requests it, None without one.
    """

    machine: Machine
    release: Release
    rollout: str | None = None


class SwapStopped(Message):
    """The change on the host is stopped, or had ended.

    Attributes:
        unit: the transient unit that ran it.
    """

    unit: str
