"""A pass of reconciliation under way: what it is asked for, what it sees, and what came of it."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from pydantic import AwareDatetime, Field

from relight.domain.base import Message, Origin
from relight.domain.breaker.breaker import Breaker, BreakerLimits
from relight.domain.names import ReleaseTag, RouteId
from relight.domain.reconcile.plan import (
    Action,
    ReconcilePlan,
    ReconcilePolicy,
)
from relight.domain.sweep.sweep import (
    MachineAtProvider,
    SweepAction,
    SweepStep,
)

RECONCILE_WORKFLOW_ID: Final = "reconcile"
"""The id under which a pass acts: the engine itself admits one at a time."""


class ReconcileFleetInput(Message):
    """Bring the fleet a step closer to what is declared.

    Attributes:
        policy: how much a pass does.
        limits: the breaker's.
        grace: how old a machine, a record or an operation is before a sweep touches it.
        dry_run: only say what would be done; nothing is written.
    """

    origin: Origin
    policy: ReconcilePolicy = ReconcilePolicy()
    limits: BreakerLimits = BreakerLimits()
    grace: timedelta = Field(default=timedelta(hours=1), gt=timedelta(0))
    dry_run: bool = False


class FleetObserved(Message):
    """The fleet was looked at, and this is what follows.

    Attributes:
        at: the instant that the plan is made for.
        breaker: where it stands after this look.
        locks: the id under which each machine of the sweep is worked on, by the machine's key.
        unasked: what was not seen, and is left out of the plan because of that.
    """

    at: AwareDatetime
    plan: ReconcilePlan
    breaker: Breaker
    locks: Mapping[str, str] = {}
    unasked: tuple[str, ...] = ()


class RouteToVerify(Message):
    """A route that is looked at, and what it should be seen to run."""

    route_id: RouteId
    release_tag: ReleaseTag


class VerifyRoutesInput(Message):
    """Look at these routes' hosts, change nothing there, and write down what was seen."""

    routes: tuple[RouteToVerify, ...]
    origin: Origin


class RouteVerified(Message):
    """What came of a look at one route.

    Attributes:
        fault: the kind of the fault that was met, None where it was proven or not looked at.
        skipped: why nothing was written, None where something was.
    """

    route_id: RouteId
    fault: str | None = None
    skipped: str | None = None


class RoutesVerified(Message):
    """What came of each look."""

    routes: tuple[RouteVerified, ...]


class BeginRemediationInput(Message):
    """Write down that a route is quarantined, or that its repair begins.

    Attributes:
        action: the step of the pass.
    """

    action: Action
    origin: Origin


class CloseOperationInput(Message):
    """Write down that an operation is over whose workflow is gone."""

    step: SweepAction
    origin: Origin


class SweepMachineInput(Message):
    """Look at one machine once more, and take a sweep's step about it.

    Attributes:
        step: what the sweep saw, and would have.
        grace: how old it has to be.
    """

    step: SweepAction
    grace: timedelta
    origin: Origin


class MachineObserved(Message):
    """What is to be done about a machine, now that nobody else works on it.

    Attributes:
        step: None where nothing is.
        reason: one sentence for a person.
        machine: what its provider has.
    """

    reason: str
    step: SweepStep | None = None
    machine: MachineAtProvider | None = None


class RecordSweptInput(Message):
    """Write down what was done about a machine."""

    step: SweepStep
    key: str
    reason: str
    origin: Origin
    machine: MachineAtProvider | None = None


class MachineSwept(Message):
    """What was done about a machine, and why.

    Attributes:
        step: None where it was left as it is.
    """

    key: str
    reason: str
    step: SweepStep | None = None


class NotBegun(Message):
    """A step of the plan that was not begun, and why."""

    about: str
    reason: str


class ReconcileRun(Message):
    """What came of a pass.

    Attributes:
        observed: what was seen, and the whole plan; the parts of it are not repeated here.
        begun: how many steps of each kind were begun.
        not_begun: those that were not.
        proven, faulted, skipped: how many of the routes that were looked at came to what.
        summary: one sentence for a person.
    """

    observed: FleetObserved | None
    begun: Mapping[str, int] = {}
    not_begun: tuple[NotBegun, ...] = ()
    proven: int = 0
    faulted: int = 0
    skipped: int = 0
    summary: str = ""
