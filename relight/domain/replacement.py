"""Replacement: another machine for a route, prepared and proven before it takes over."""

from relight.domain.base import Message, Origin
from relight.domain.fault.fault import Fault
from relight.domain.image.image import ImageName
from relight.domain.machine import Machine
from relight.domain.names import ReleaseTag, RouteId
from relight.domain.proof import Proof
from relight.domain.route import Route
from relight.domain.track import DesiredRelease


class AutoreplaceRouteInput(Message):
    """Give a route another machine, and remove its current one.

    Attributes:
        release_tag: the release for the new machine, by a person's word or pin; None for the
            route's target, or if that is known as bad, for the last release that works there.
        reason: one sentence for a person.
        unreachable: the old machine cannot be reached; the breaker counts that.
        requested: a person asked for another machine, so the old one is destroyed also if it works.
        gone: its provider does not have the old machine.
        image_name: the image of the new machine; None for that of the location.
        rollout: the workflow id of the rollout that asks for it, None without one.
    """

    route_id: RouteId
    release_tag: ReleaseTag | None = None
    reason: str
    unreachable: bool = False
    requested: bool = False
    gone: bool = False
    origin: Origin
    image_name: ImageName | None = None
    rollout: str | None = None


class RouteReplaced(Message):
    """A route serves on another machine. Its old machine is being removed (`machine/{key}`).

    Attributes:
        from_pool: the new machine was claimed from the pool, not created for the route.
        previous_machine_key: the old machine; None if there was none.
        instead_of: the route's target, if it is known as bad and was not installed; else None.
        instead_reason: why it is; else empty.
    """

    route_id: RouteId
    machine: Machine
    release_tag: ReleaseTag
    proof: Proof
    from_pool: bool
    previous_machine_key: str | None
    instead_of: ReleaseTag | None = None
    instead_reason: str = ""


class CheckReplacementInput(Message):
    """Check that nothing at the provider or on the host speaks against a replacement; or refuse.

    Attributes:
        unreachable: it is asked for because the old machine cannot be reached.
        gone: it is asked for because the provider does not have the old machine.
        image_name: it is asked for because the old machine is not made of this image.
    """

    route_id: RouteId
    unreachable: bool = False
    gone: bool = False
    image_name: ImageName | None = None
    origin: Origin


class BeginReplacementInput(Message):
    """Take the route out, and record that its replacement begins; or refuse.

    Attributes:
        release_tag: the release for the new machine; None if it is to be chosen.
        rollout: the workflow id of the rollout that asks for it, None without one.
    """

    route_id: RouteId
    release_tag: ReleaseTag | None = None
    reason: str
    origin: Origin
    rollout: str | None = None


class ReplacementBegun(Message):
    """The route is out, and this is its record.

    Attributes:
        release: the release for the new machine.
    """

    route: Route
    release: DesiredRelease


class SaveEvidenceInput(Message):
    """Save logs and state of a machine before it is destroyed."""

    route_id: RouteId
    machine: Machine
    origin: Origin


class EvidenceSaved(Message):
    """What was saved. The content is in the event log only.

    Attributes:
        saved: names of the items that were read.
        missing: items that were not, each with the reason.
    """

    saved: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


class ClaimMachineInput(Message):
    """Claim a machine of the region's pool for a route.

    Attributes:
        release_tag: what the route should run; a machine that runs it already is preferred.
        architecture: the architecture that the route needs.
        image_name: what the machine has to be made of; None for any image.
    """

    route_id: RouteId
    release_tag: ReleaseTag
    architecture: str
    origin: Origin
    image_name: ImageName | None = None


class MachineClaimed(Message):
    """The machine that was claimed.

    Attributes:
        machine: None if the pool had none.
        release_tag: what it was last proven to run.
    """

    machine: Machine | None = None
    release_tag: ReleaseTag | None = None


class ReturnMachineInput(Message):
    """Return the pool machine that this operation claimed, to be recycled.

    Attributes:
        fault: why the route does not use it.
    """

    route_id: RouteId
    fault: Fault
    origin: Origin


class MachineReturned(Message):
    """The returned machine; None if none was claimed, or if it serves the route."""

    machine_key: str | None


class AttachMachineInput(Message):
    """Make the new, proven machine serve its route.

    Attributes:
        requested: a person asked for another machine.
        instead_of: the route's target, if it is known as bad and was not installed; else None.
        instead_reason: why it is; else empty.
    """

    route_id: RouteId
    machine: Machine
    proof: Proof
    unreachable: bool
    requested: bool = False
    origin: Origin
    instead_of: ReleaseTag | None = None
    instead_reason: str = ""


class DrainMachineInput(Message):
    """Move the users of a machine away from it."""

    route_id: RouteId
    machine: Machine


class MachineDrained(Message):
    """The result of draining a machine.

    Attributes:
        drained: whether the drain command succeeded; None where none is configured.
        detail: its exit code and output, or why it did not run.
    """

    drained: bool | None
    detail: str
