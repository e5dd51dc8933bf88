"""Routes: the logical slots that users are assigned to. A route outlives its machines."""

from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from relight.domain.base import Message, Origin
from relight.domain.fault.error import DomainError
from relight.domain.fault.fault import Fault
from relight.domain.machine import Machine, MachineImage
from relight.domain.names import (
    ReleaseTag,
    RouteId,
    ScopeName,
    TrackName,
)
from relight.domain.proof import Proof
from relight.domain.release import Release


class RouteStatus(StrEnum):
    """The status of a route.

    `serving`: proven. `faulted`: its last operation failed; the event log has the reason.
    `failed`: provisioning failed, and it has no machine. `retired`: a person ended it; it has no
    machine, and automation ignores it until it is provisioned again.
    """

    PROVISIONING = "provisioning"
    SERVING = "serving"
    FAULTED = "faulted"
    FAILED = "failed"
    RETIRED = "retired"


class Route(Message):
    """A route as the store knows it.

    Attributes:
        target_release_tag: what it should run.
        current_release_tag: what it was last proven to run.
        proven_at: time of that proof, UTC.
        machine: the machine that serves it.
        fault: the fault of the last failed operation.
        newer_version: the Debian version that its host was observed to run, if that is newer than
            any that the record has for the route: the record may be old. Else None.
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
    newer_version: str | None = None

    @property
    def architecture(self) -> str | None:
        """Its machine's architecture, None without a machine."""
        return self.machine.architecture if self.machine else None


class RouteWithoutMachineError(DomainError):
    """A route has no machine that an operation could work on."""

    kind = "route-without-machine"


def require_machine(route: Route) -> Machine:
    """Return the machine that serves a route.

    Raises:
        RouteWithoutMachineError: it has none.
    """
    if route.machine is None or route.machine.address is None:
        raise RouteWithoutMachineError(
            f"route {route.route_id} is {route.status} and has no machine to swap on: "
            f"`relight route provision {route.route_id} --track {route.track} "
            f"--provider {route.provider} --region {route.region}` gives it one"
        )
    return route.machine


class ProvisionRouteInput(Message):
    """Create a new route with its machine, at its desired release."""

    route_id: RouteId
    track: TrackName
    provider: str
    region: str
    origin: Origin


class RouteProvisioned(Message):
    """The new route is proven and serves.

    Attributes:
        instead_of: the declared release, if it is known as bad on this route; else None.
        instead_reason: why it is; else empty.
    """

    route_id: RouteId
    machine: Machine
    release_tag: ReleaseTag
    proof: Proof
    instead_of: ReleaseTag | None = None
    instead_reason: str = ""


class HotSwapRouteInput(Message):
    """Replace the package on a route's machine in place, and prove it.

    Attributes:
        release_tag: the release to install; None rolls back to the last release that the route
            was proven at, or of a healthy route, to the one before.
        release: the resolved tag, if the rollout resolved it for all of its routes.
        rollout: the workflow id of the rollout that requests it, None for an operator's own swap.
        within_budget: take the route out only within the budgets of reconciliation. A wave checks
            its budgets before it starts a swap; an operator's own swap ignores them.
        allow_downgrade: the release may be older than the one that the route is proven at. A
            failed route may always go back to a release that it was proven at.
    """

    route_id: RouteId
    release_tag: ReleaseTag | None
    origin: Origin
    release: Release | None = None
    rollout: str | None = None
    within_budget: bool = False
    allow_downgrade: bool = False


class RouteSwapped(Message):
    """A route was proven to run the release.

    Attributes:
        previous_release_tag: the release that it was proven to run before.
    """

    route_id: RouteId
    machine_key: str
    release_tag: ReleaseTag
    previous_release_tag: ReleaseTag | None
    proof: Proof


class ProveRouteInput(Message):
    """Prove that a route's machine still runs a release. Nothing is changed.

    Attributes:
        release: None for the one that it was last proven to run.
        rollout: the workflow id of the rollout that requests it, None without one.
    """

    route_id: RouteId
    release: Release | None
    origin: Origin
    rollout: str | None = None


class RouteProven(Message):
    """A route was proven to run its release."""

    route_id: RouteId
    proof: Proof


class CheckVacantInput(Message):
    """Check that a route can be opened in a location: it has no machine, and may have none."""

    route_id: RouteId
    provider: str
    region: str
    origin: Origin


class OpenRouteInput(Message):
    """Record the route and its planned machine before anything is created.

    Attributes:
        instead_of: the declared release, if it is known as bad on this route; else None.
        instead_reason: why it is; else empty.
    """

    route_id: RouteId
    track: TrackName
    provider: str
    region: str
    release_tag: ReleaseTag
    origin: Origin
    instead_of: ReleaseTag | None = None
    instead_reason: str = ""


class RouteOpened(Message):
    """The key and generation of the planned machine."""

    machine_key: str
    generation: int


class RecordMachineInput(Message):
    """Record the machine that the provider created for a key.

    Attributes:
        image: what it was made of; None: what the settings say of its location.
    """

    machine: Machine
    user_data_sha256: str
    origin: Origin
    image: MachineImage | None = None


class RecordProofInput(Message):
    """Record what a route was proven to run; its status becomes `serving`.

    Attributes:
        swap_attempt: the detail of the event of the attempt at a swap that has made the proof; None
            if none is to be recorded with it.
    """

    route_id: RouteId
    machine: Machine
    proof: Proof
    origin: Origin
    swap_attempt: dict[str, Any] | None = None


class RecordFaultInput(Message):
    """Record why an operation on a route failed.

    Attributes:
        machine_key: the machine of the operation, None if there was none yet.
        machine_destroyed: that machine, or the one that this operation planned, no longer exists
            at the provider.
        of_swap: the operation is a swap. Its machine is the one that it began with, before that the
            route's. A refusal before that is not recorded: it changed nothing, and would hide the
            route's own fault.
    """

    route_id: RouteId
    release_tag: ReleaseTag | None
    fault: Fault
    origin: Origin
    machine_key: str | None = None
    machine_destroyed: bool = False
    of_swap: bool = False


class LoadRouteInput(Message):
    """Load a route from the store."""

    route_id: RouteId


class PreviousRelease(Message):
    """The release that a rollback installs."""

    tag: ReleaseTag


class SwapRouteInput(Message):
    """Make exactly this release a route's target, install and prove it, and record the proof.

    Attributes:
        allow_downgrade: the release may be older than the one that the route is proven at.
        rollout: the workflow id of the rollout that requests it, None for an operator's own swap.
    """

    route_id: RouteId
    release: Release
    origin: Origin
    allow_downgrade: bool = False
    rollout: str | None = None


class SwapBegun(Message):
    """The target is recorded; the host is not changed yet.

    Attributes:
        machine: the machine that is swapped.
        allow_downgrade: the release may replace a newer one: a person allowed it, or it brings a
            failed route back to what it has run before.
        previous_release_tag: the release that the route was proven to run.
        proof: what an earlier attempt has recorded already, None without one.
    """

    machine: Machine
    allow_downgrade: bool
    previous_release_tag: ReleaseTag | None
    proof: Proof | None = None


class SwapEnded(Message):
    """The end of an attempt at a swap that did not fail.

    Attributes:
        swapped: the result; None if the store was not writable before anything was changed.
        unrecorded: the proof, if the store was not writable when it was to be recorded; else None.
    """

    swapped: RouteSwapped | None
    unrecorded: RecordProofInput | None = None


class ListRoutesInput(Message):
    """List the routes of a scope."""

    scope: ScopeName


class Recorded(Message):
    """The record is written."""


class Vacant(Message):
    """The route can be opened."""


class RetireRouteInput(Message):
    """End a route: drain and destroy its machines, keep its history."""

    route_id: RouteId
    origin: Origin


class RouteRetired(Message):
    """A route is retired.

    Attributes:
        track: its track.
        machines: its machines; each is being removed (`machine/{key}`).
    """

    route_id: RouteId
    track: TrackName
    machines: tuple[Machine, ...]


class Located(Protocol):
    """The location and track of a route.

    Plans for a whole fleet use this and `Candidate` instead of `Route`, because a list of complete
    routes is large.
    """

    @property
    def route_id(self) -> RouteId:
        """Its id."""

    @property
    def track(self) -> TrackName:
        """Name of its track."""

    @property
    def provider(self) -> str:
        """Name of its provider's driver."""

    @property
    def region(self) -> str:
        """The provider's name of its region."""


class Candidate(Located, Protocol):
    """A route that may become part of a wave."""

    @property
    def status(self) -> RouteStatus:
        """The status of the route."""

    @property
    def architecture(self) -> str | None:
        """Its machine's architecture, Debian name; None without a machine."""


class RouteOperationInput(Message):
    """Input of an activity that needs only the route."""

    route_id: RouteId
    origin: Origin
