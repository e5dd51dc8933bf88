"""Another machine for a route: made ready first, then put in the place of the old one."""

from relight.domain.base import Message, Origin
from relight.domain.fault.fault import Fault
from relight.domain.machine import Machine
from relight.domain.names import (
    ReleaseTag,
    RouteId,
    TrackName,
)
from relight.domain.proof import Proof
from relight.domain.route import Route


class AutoreplaceRouteInput(Message):
    """Give a route another machine, and destroy the one that it has.

    Attributes:
        release_tag: what the new one is to run; None for what the route should run.
        reason: why, in one sentence for a person.
        unreachable: nobody gets through to the old machine: the breaker counts that.
    """

    route_id: RouteId
    release_tag: ReleaseTag | None = None
    reason: str
    unreachable: bool = False
    origin: Origin


class RouteReplaced(Message):
    """A route serves on another machine, and the one before is gone.

    Attributes:
        from_pool: the new machine was claimed from the pool, and not made for the route.
        previous_machine_key: the one that is gone; None where there was none.
    """

    route_id: RouteId
    machine: Machine
    release_tag: ReleaseTag
    proof: Proof
    from_pool: bool
    previous_machine_key: str | None


class BeginReplacementInput(Message):
    """Hold the route, and write down that another machine is looked for; or refuse."""

    route_id: RouteId
    reason: str
    origin: Origin


class ReplacementBegun(Message):
    """The route is held, and is so."""

    route: Route


class SaveEvidenceInput(Message):
    """Write down what a machine has to say before it is destroyed."""

    route_id: RouteId
    machine: Machine
    origin: Origin


class EvidenceSaved(Message):
    """What was written down; the words themselves are in the event log alone.

    Attributes:
        saved: the names of what was read.
        missing: what was not, each with the reason.
    """

    saved: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


class ClaimMachineInput(Message):
    """Give a route a machine of its region's pool, if there is one.

    Attributes:
        release_tag: what the route should run: a machine that does so already is the best.
        architecture: what the machine has to be.
    """

    route_id: RouteId
    release_tag: ReleaseTag
    architecture: str
    origin: Origin


class MachineClaimed(Message):
    """What the pool gave.

    Attributes:
        machine: None where it had none.
        release_tag: what that was last proven to run.
    """

    machine: Machine | None = None
    release_tag: ReleaseTag | None = None


class OfRouteInput(Message):
    """Do something about a route that needs to know no more than which one."""

    route_id: RouteId
    origin: Origin


class GiveBackInput(Message):
    """Give what this operation claimed for a route back to the pool, to be recycled there.

    Attributes:
        fault: why it is not the route's.
    """

    route_id: RouteId
    fault: Fault
    origin: Origin


class GivenBack(Message):
    """What went back; None where nothing was claimed, or where it serves the route."""

    machine_key: str | None


class AttachMachineInput(Message):
    """Have a route be served by its new machine, which was proven."""

    route_id: RouteId
    machine: Machine
    proof: Proof
    unreachable: bool
    origin: Origin


class DrainMachineInput(Message):
    """Have whoever uses a machine leave it."""

    route_id: RouteId
    machine: Machine


class MachineDrained(Message):
    """How that went.

    Attributes:
        drained: whether it is said to be drained; None where nobody was asked.
        seen: what was said.
    """

    drained: bool | None
    seen: str


class AskDestructionInput(Message):
    """Ask whether a machine may be destroyed now.

    Attributes:
        track: its route's; None for one of the pool.
    """

    key: str
    provider: str
    region: str
    track: TrackName | None = None


class DestructionAllowed(Message):
    """The answer: why not, or None where it may be."""

    why_not: str | None


class RecordDestroyedInput(Message):
    """Write down that a machine is gone.

    Attributes:
        reason: why it was destroyed.
        unreachable: nobody got through to it.
    """

    key: str
    reason: str
    unreachable: bool
    origin: Origin


class Removal(Message):
    """A machine that is to be destroyed, and all that has to be known for it.

    Attributes:
        provider_id: its id there, None where nobody ever saw it.
        track: its route's; None for one of the pool.
        reason: why, for a person.
        unreachable: nobody got through to it.
    """

    key: str
    provider: str
    region: str
    provider_id: str | None
    track: TrackName | None = None
    reason: str
    unreachable: bool = False
    origin: Origin
