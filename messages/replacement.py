"""What a route that does not fare well needs: another look, a repair, another machine, a person."""

from datetime import timedelta
from enum import StrEnum

from pydantic import AwareDatetime, Field

from messages.base import Message
from messages.names import RouteId


class FaultSighting(Message):
    """A fault that an operation met on a route.

    Attributes:
        kind: by its name in the table of faults.
        machine_key: the machine that it was met on, None where there was none yet.
        fresh: the connection was opened for this very operation. One that broke under it says
            nothing about whether the host can be reached.
        drifted: a mere look met it, on a machine that was proven at the same release: whatever
            the kind, the release ran there, and something was changed since.
    """

    at: AwareDatetime
    kind: str
    machine_key: str | None = None
    fresh: bool = True
    drifted: bool = False


class RouteHistory(Message):
    """What happened to a route lately.

    Attributes:
        machine_key: the machine that serves it now, None where it has none.
        proven_at: when it was last proven on that machine.
        faults: those that were met lately, in any order.
        repairs: when a swap was begun lately to mend it.
        replacements: when another machine was looked for lately, whatever came of it.
        gone_since: since when its provider, asked again and again, does not have the machine.
        asked_by: who asked for another machine, None where nobody did.
        faulted: what was last done to it failed.
        quarantined: it was taken out of the machinery's hands, until a person gives it back.
    """

    route_id: RouteId
    machine_key: str | None
    proven_at: AwareDatetime | None = None
    faults: tuple[FaultSighting, ...] = ()
    repairs: tuple[AwareDatetime, ...] = ()
    replacements: tuple[AwareDatetime, ...] = ()
    gone_since: AwareDatetime | None = None
    asked_by: str | None = None
    faulted: bool = False
    quarantined: bool = False


class ReplacementPolicy(Message):
    """How much it takes to repair a route, to replace its machine, and to give it up.

    Attributes:
        sightings: how many operations have to fail to get through, each by a fresh connection.
        sighted_for: how far the first and the last of these lie apart at the least.
        look_again_after: how long after a fault the route is looked at again.
        repairs: how many repairs are tried before the machine is replaced.
        repair_after: how long after the last repair began the next one may.
        gone_for: how long a provider has to say that a machine is gone.
        replacements: a route that had so many within the window is quarantined.
        window: how far back replacements, and faults, count.
    """

    sightings: int = Field(default=3, ge=2)
    sighted_for: timedelta = Field(default=timedelta(minutes=10), gt=timedelta(0))
    look_again_after: timedelta = Field(default=timedelta(minutes=3), ge=timedelta(0))
    repairs: int = Field(default=2, ge=1)
    repair_after: timedelta = Field(default=timedelta(minutes=10), ge=timedelta(0))
    gone_for: timedelta = Field(default=timedelta(minutes=5), gt=timedelta(0))
    replacements: int = Field(default=3, ge=1)
    window: timedelta = Field(default=timedelta(hours=24), gt=timedelta(0))


class Treatment(StrEnum):
    """What is done about a route.

    `look again`: prove it by a fresh connection, which changes nothing. `repair`: swap it once more
    to what it should run. `replace`: give it another machine. `quarantine`: leave it to a person,
    and touch it no more.
    """

    LEAVE_ALONE = "leave alone"
    LOOK_AGAIN = "look again"
    REPAIR = "repair"
    REPLACE = "replace"
    QUARANTINE = "quarantine"


class TreatmentDecision(Message):
    """What is done about a route, and why.

    Attributes:
        reason: one sentence for a person.
        unreachable: nobody got through to its machine: what the breaker counts.
    """

    route_id: RouteId
    treatment: Treatment
    reason: str
    unreachable: bool = False
