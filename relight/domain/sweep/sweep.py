"""Sweeping: machines, records and operations that do not fit each other any more."""

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum

from pydantic import AwareDatetime, Field

from relight.domain.base import Message
from relight.domain.machine import Machine
from relight.domain.names import RouteId


class MachineAtProvider(Machine):
    """A machine as its provider lists it, with what we wrote on it.

    Attributes:
        owner: the ownership tag that it bears, None without one. It names one control plane's
            fleet, so that two that share an account leave each other's machines alone.
        generation: as its tag says; None without one.
        created_at: when the provider made it, None where it does not say.
    """

    owner: str | None = None
    generation: int | None = None
    created_at: AwareDatetime | None = None

    @property
    def machine(self) -> Machine:
        """The machine alone, as operations hand it on."""
        return Machine.model_validate(self.model_dump(include=set(Machine.model_fields)))


class ProviderListing(Message):
    """All machines of our account at a provider.

    Attributes:
        asked_at: when the listing began. Records and open workflows are read after it.
        complete: every page of it came.
    """

    provider: str
    asked_at: AwareDatetime
    machines: tuple[MachineAtProvider, ...]
    complete: bool = True


class RecordedAs(StrEnum):
    """What our record says of a machine.

    `planned`: it may or may not exist. `running`: it was seen at its provider. `lost`: it was no
    longer there. `destroyed`: it was made sure that it is not there.
    """

    PLANNED = "planned"
    RUNNING = "running"
    LOST = "lost"
    DESTROYED = "destroyed"


class MachineOnRecord(Message):
    """A machine as our record has it.

    Attributes:
        generation: of its key.
        provider_id: None while nobody has seen it.
        route_id: the route that it was made for, or was given to; None in the pool.
        serves: it is the one that its route is served by.
        recorded_at: when its key was written down.
    """

    key: str
    generation: int
    provider: str
    region: str
    provider_id: str | None
    recorded_as: RecordedAs
    recorded_at: AwareDatetime
    route_id: RouteId | None = None
    serves: bool = False


class OpenOperation(Message):
    """An operation that our record says is under way."""

    workflow_id: str
    run_id: str
    opened_at: AwareDatetime
    route_id: RouteId | None = None


class SweepPolicy(Message):
    """How careful a sweep is.

    Attributes:
        owner: our ownership tag.
        grace: how old a machine, a record or an operation is at least before it is touched.
        doubt_share: where more than this share of a provider's machines does not fit our records,
            or of our records its machines, the records or the listing are wrong: nothing follows.
        doubt_at_least: how many of them that takes at the least.
        at_most: how many steps one sweep takes.
    """

    owner: str = Field(min_length=1)
    grace: timedelta = Field(default=timedelta(hours=1), gt=timedelta(0))
    doubt_share: float = Field(default=0.2, gt=0, le=1)
    doubt_at_least: int = Field(default=2, ge=1)
    at_most: int = Field(default=20, ge=1)


class SweepStep(StrEnum):
    """What is done about something that does not fit.

    `adopt`: write the machine down, as what its key says. `destroy`: destroy the machine, by its
    id and generation. `mark lost`: write down that the machine is not there. `close`: write down
    that the operation is over. `wait`: it is too young, or somebody may work on it. `ask`: a person
    has to look, since names contradict each other, or too much does not fit at once.
    """

    ADOPT = "adopt"
    DESTROY = "destroy"
    MARK_LOST = "mark lost"
    CLOSE = "close"
    WAIT = "wait"
    ASK = "ask"


class SweepAction(Message):
    """One step of a sweep.

    Attributes:
        machine: what was seen at the provider, where something was.
        key: the machine's on record or at the provider; empty for an operation.
        operation: the operation that is closed.
        reason: one sentence for a person.
    """

    step: SweepStep
    reason: str
    key: str = ""
    provider: str = ""
    machine: MachineAtProvider | None = None
    operation: OpenOperation | None = None


class SweepPlan(Message):
    """What a sweep does, and what it leaves for the next one.

    Attributes:
        actions: those that change something, in their order; no more than the policy allows.
        left: those that wait or have to be asked about, and those beyond the limit.
        counts: how many of each step there were, beyond the limit too.
    """

    actions: tuple[SweepAction, ...]
    left: tuple[SweepAction, ...] = ()
    counts: Mapping[SweepStep, int] = {}
