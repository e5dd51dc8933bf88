"""Routes: the slots that users are assigned to, which outlive their machines."""

from datetime import datetime
from enum import StrEnum
from typing import Protocol

from relight.domain.base import Message, Origin
from relight.domain.fault.fault import Fault
from relight.domain.machine import Machine
from relight.domain.names import (
    ReleaseTag,
    RouteId,
    ScopeName,
    TrackName,
)
from relight.domain.proof import Proof
from relight.domain.release import Release


class RouteStatus(StrEnum):
    """Where a route is in its life.

    `serving` was proven; `faulted` could not be brought to its target, and says why in the
    event log; `failed` never came up and holds no machine.
    """

    PROVISIONING = "provisioning"
    SERVING = "serving"
    FAULTED = "faulted"
    FAILED = "failed"


class Route(Message):
    """A route as the store knows it.

    Attributes:
        target_release_tag: what it should run.
        current_release_tag: what it was last proven to run.
        proven_at: when that was, UTC.
        machine: the one that serves it now.
        fault: what stands in its way, as the last failed operation saw it.
    """

    route_id: RouteId
    track: TrackName
    provider: str
    region: str
    status: RouteStatus
    target_release_tag: ReleaseTag | None = None
    current_release_tag: ReleaseTag | None = None
    proven_at: datetime | None = None
    machine: Machine | None = None
    fault: Fault | None = None

    @property
    def architecture(self) -> str | None:
        """Its machine's, None where it has none."""
        return self.machine.architecture if self.machine else None


class ProvisionRouteInput(Message):
    """Bring a new route up on a machine of its own, at its desired release."""

    route_id: RouteId
    track: TrackName
    provider: str
    region: str
    origin: Origin


class RouteProvisioned(Message):
    """A route serves, and is proven."""

    route_id: RouteId
    machine: Machine
    release_tag: ReleaseTag
    proof: Proof


class HotSwapRouteInput(Message):
    """Replace the package on a route's machine in place, and prove it.

    Attributes:
        release_tag: the release to bring; None goes back to the last one that the route was
            proven at before its target. Only that way may be to an older version.
        release: what the tag was resolved to, where a rollout did so for all of its routes.
        rollout: the workflow id of the rollout that asks, None for an operator's own swap.
        within_budget: take the route out only where reconciliation's budgets let it. A wave has
            done as much before it begins a swap, and an operator's own asks nobody.
    """

    route_id: RouteId
    release_tag: ReleaseTag | None
    origin: Origin
    release: Release | None = None
    rollout: str | None = None
    within_budget: bool = False


class RouteSwapped(Message):
    """A route was proven to run the release.

    Attributes:
        previous_release_tag: what it was proven to run before.
    """

    route_id: RouteId
    machine_key: str
    release_tag: ReleaseTag
    previous_release_tag: ReleaseTag | None
    proof: Proof


class ProveRouteInput(Message):
    """See that a route's machine still runs a release, and change nothing.

    Attributes:
        rollout: the workflow id of the rollout that asks, None for nobody's.
    """

    route_id: RouteId
    release: Release
    origin: Origin
    rollout: str | None = None


class RouteProven(Message):
    """A route was seen to run its release."""

    route_id: RouteId
    proof: Proof


class OpenRouteInput(Message):
    """Write the route and its next machine down before anything is created."""

    route_id: RouteId
    track: TrackName
    provider: str
    region: str
    release_tag: ReleaseTag
    origin: Origin


class RouteOpened(Message):
    """The key of the machine that is to be, and its generation."""

    machine_key: str
    generation: int


class RecordMachineInput(Message):
    """Write down what the provider created for a machine's key."""

    machine: Machine
    user_data_sha256: str
    origin: Origin


class RecordProofInput(Message):
    """Write down what a route was proven to run; it serves."""

    route_id: RouteId
    machine: Machine
    proof: Proof
    origin: Origin


class RecordFaultInput(Message):
    """Write down why an operation on a route failed.

    Attributes:
        machine_key: the machine that it was about, None where it never came to one.
        machine_destroyed: that machine, or what this operation planned, is gone at the provider.
    """

    route_id: RouteId
    release_tag: ReleaseTag | None
    fault: Fault
    origin: Origin
    machine_key: str | None = None
    machine_destroyed: bool = False


class LoadRouteInput(Message):
    """Ask the store for a route."""

    route_id: RouteId


class ReleaseBefore(Message):
    """The release that a route goes back to."""

    tag: ReleaseTag


class SetTargetInput(Message):
    """Write down what a route should run, before it is made to."""

    route_id: RouteId
    release_tag: ReleaseTag
    origin: Origin


class ListRoutesInput(Message):
    """Ask for the routes that a scope's declaration governs."""

    scope: ScopeName


class Recorded(Message):
    """It is written."""


class Located(Protocol):
    """What has a place in a fleet."""

    @property
    def route_id(self) -> RouteId:
        """Its id."""

    @property
    def track(self) -> TrackName:
        """Its track."""

    @property
    def provider(self) -> str:
        """Whose machine serves it."""

    @property
    def region(self) -> str:
        """Where that stands."""


class Candidate(Located, Protocol):
    """A route that may be put into a wave."""

    @property
    def status(self) -> RouteStatus:
        """Where it is in its life."""

    @property
    def architecture(self) -> str | None:
        """Its machine's, by Debian's name; None where it has no machine."""


# MERGEDOC """What planning asks of a route. A `Route` answers it, and so does less than that.
#
# A plan is made over a whole fleet, and a fleet of whole routes is large.
# """
