"""Sweep: find machines without record, records without machine, and abandoned operations."""

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum

from pydantic import AwareDatetime, Field

from relight.domain.base import Message
from relight.domain.machine import MachineAtProvider
from relight.domain.names import RouteId


class ProviderListing(Message):
    """All machines of our account at a provider.

    Attributes:
        asked_at: when the listing began. Open workflows and records are read after it.
        complete: whether every page was received.
    """

    provider: str
    asked_at: AwareDatetime
    machines: tuple[MachineAtProvider, ...]
    complete: bool = True


class OpenOperation(Message):
    """An operation that is open on record."""

    workflow_id: str
    run_id: str
    opened_at: AwareDatetime
    route_id: RouteId | None = None


class SweepPolicy(Message):
    """Limits of a sweep.

    Attributes:
        owner: our ownership tag.
        grace: younger machines, records and operations are left alone.
        max_mismatch_share: if a larger share of a provider's machines would be destroyed, or of
            its records marked lost, the records or the listing are probably wrong: a person is
            asked instead.
        min_mismatches: fewer machines than this are never too large a share.
        max_steps: how many steps one sweep takes.
        gone_for: how long a machine of a route or the pool must be missing in each listing before
            it is marked lost.
    """

    owner: str = Field(min_length=1)
    grace: timedelta = Field(default=timedelta(hours=1), gt=timedelta(0))
    max_mismatch_share: float = Field(default=0.2, gt=0, le=1)
    min_mismatches: int = Field(default=2, ge=1)
    max_steps: int = Field(default=20, ge=1)
    gone_for: timedelta = Field(default=timedelta(minutes=5), gt=timedelta(0))


class SweepStep(StrEnum):
    """What is done about a mismatch.

    `adopt`: record the machine under its key. `destroy`: destroy the machine, by its id and
    generation. `mark lost`: record that the machine does not exist. `close`: record that the
    operation has ended. `wait`: it is too young, or an operation may be in progress. `ask`: a
    person has to decide, because names contradict each other or there are too many mismatches.
    `doubt`: the machine is newer than our records, so they may be old; nothing is changed. `keep`:
    a person keeps it.
    """

    ADOPT = "adopt"
    DOUBT = "doubt"
    DESTROY = "destroy"
    MARK_LOST = "mark lost"
    CLOSE = "close"
    WAIT = "wait"
    ASK = "ask"
    KEEP = "keep"


class SweepAction(Message):
    """One step of a sweep.

    Attributes:
        machine: as listed by the provider, if it is.
        key: the machine's; empty for an operation.
        operation: the operation to close.
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
        actions: the steps that change something, in their order, up to the policy's limit.
        left: the steps `wait`, `ask`, `doubt` and `keep`, and those beyond the limit.
        counts: number of steps by kind, including those beyond the limit.
    """

    actions: tuple[SweepAction, ...]
    left: tuple[SweepAction, ...] = ()
    counts: Mapping[SweepStep, int] = {}
