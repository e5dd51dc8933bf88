"""A reconcile run: the messages of its workflow and activities."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Final

from pydantic import AwareDatetime, Field

from relight.domain.base import Message, Origin
from relight.domain.breaker.breaker import Breaker, BreakerLimits
from relight.domain.machine import MachineAtProvider
from relight.domain.names import ReleaseTag, RouteId
from relight.domain.reconcile.plan import (
    Action,
    ActionKind,
    ReconcilePlan,
    ReconcilePolicy,
)
from relight.domain.skew import FleetSkew
from relight.domain.sweep.sweep import SweepAction, SweepStep

RECONCILE_WORKFLOW_ID: Final = "reconcile"
"""The workflow id of reconcile runs. The engine admits one at a time."""


VERIFY_SILENT_WORKFLOW_ID: Final = "verify-silent"
"""The workflow id of the verifications that a liveness check calls for. One runs at a time."""


def verify_workflow_id(route_id: RouteId) -> str:
    """Return the workflow id of a verification of one route. It is not the route's lock."""
    return f"verify/{route_id}"


class ReconcileFleetInput(Message):
    """Bring the fleet closer to what is declared.

    Attributes:
        policy: the limits of a run.
        limits: the breaker's.
        grace: the sweep leaves younger machines, records and operations alone.
        dry_run: only show the plan; nothing is written.
    """

    origin: Origin
    policy: ReconcilePolicy = ReconcilePolicy()
    limits: BreakerLimits = BreakerLimits()
    grace: timedelta = Field(default=timedelta(hours=1), gt=timedelta(0))
    dry_run: bool = False


class FleetObserved(Message):
    """The observed fleet and the plan for it.

    Attributes:
        at: the time of the plan.
        breaker: its state after this observation.
        locks: the workflow id that locks each machine of the sweep, by the machine's key.
        unobserved: what could not be observed and is therefore not in the plan.
        skew: how many routes of each track are at which release.
    """

    at: AwareDatetime
    plan: ReconcilePlan
    breaker: Breaker
    locks: Mapping[str, str] = {}
    unobserved: tuple[str, ...] = ()
    skew: FleetSkew = FleetSkew()


class RouteToVerify(Message):
    """A route to verify, and the release that it should run.

    Attributes:
        machine_key: its machine when the plan was made.
    """

    route_id: RouteId
    release_tag: ReleaseTag
    machine_key: str | None = None


def routes_to_verify(actions: Iterable[Action]) -> tuple[RouteToVerify, ...]:
    """Return the routes that the verifications among these actions are about."""
    return tuple(
        RouteToVerify(
            route_id=action.route_id,
            release_tag=action.release_tag,
            machine_key=action.machine_key,
        )
        for action in actions
        if action.kind is ActionKind.VERIFY and action.route_id and action.release_tag
    )


class VerifyRoutesInput(Message):
    """Observe the hosts of these routes without a change, and record the results.

    Attributes:
        routes: empty for those that an evaluation of the breaker names.
    """

    routes: tuple[RouteToVerify, ...]
    origin: Origin


class BreakerEvaluated(Message):
    """The breaker was evaluated.

    Attributes:
        to_verify: the routes to verify, so that its next state follows from fresh observations.
        locked_out: those of them whose machines lock the control plane out, as others do.
        locks_out: the breaker is open because machines lock the control plane out.
    """

    to_verify: tuple[RouteToVerify, ...] = ()
    locked_out: tuple[RouteId, ...] = ()
    locks_out: bool = False


class RouteVerified(Message):
    """The result of the verification of one route.

    Attributes:
        fault: the kind of the fault that was found, None if it was proven or skipped.
        skipped: why nothing was recorded, None if something was.
        failed: why the verification itself failed, which says nothing about the host.
        newer_version: the version that its host runs, if our records may be too old to know it.
    """

    route_id: RouteId
    fault: str | None = None
    skipped: str | None = None
    failed: str | None = None
    newer_version: str | None = None

    @property
    def is_proven(self) -> bool:
        """Whether its host was proven and that was recorded."""
        unproven = (self.fault, self.skipped, self.failed, self.newer_version)
        return all(each is None for each in unproven)


class RoutesVerified(Message):
    """The results of a verification."""

    routes: tuple[RouteVerified, ...]


class BeginRemediationInput(Message):
    """Record that a route is quarantined, or that its repair begins.

    Attributes:
        action: the action of the plan.
    """

    action: Action
    origin: Origin


class CloseOperationInput(Message):
    """Record that an operation has ended, because its workflow has."""

    step: SweepAction
    origin: Origin


class SweepMachineInput(Message):
    """Observe one machine again, and take the sweep's step for it.

    Attributes:
        step: the planned step.
        grace: the minimum age of the machine.
        gone_for: how long listings must lack it before it is marked lost.
    """

    step: SweepAction
    grace: timedelta
    origin: Origin
    gone_for: timedelta = timedelta(minutes=5)


class MachineObserved(Message):
    """The step for a machine, decided again under its lock.

    Attributes:
        step: None if nothing is to be done.
        reason: one sentence for a person.
        machine: as its provider lists it.
    """

    reason: str
    step: SweepStep | None = None
    machine: MachineAtProvider | None = None


class RecordSweptInput(Message):
    """Record the step that was taken for a machine."""

    step: SweepStep
    key: str
    reason: str
    origin: Origin
    machine: MachineAtProvider | None = None


class MachineSwept(Message):
    """The step that was taken for a machine, and why.

    Attributes:
        step: None if it was left as it is.
    """

    key: str
    reason: str
    step: SweepStep | None = None


class NotStarted(Message):
    """An action of the plan that was not started, and why."""

    about: str
    reason: str


class NotVerified(Message):
    """A route whose verification failed, and why. The next reconcile run verifies it again.

    Attributes:
        about: the route and its host.
    """

    about: str
    reason: str


class ReconcileRun(Message):
    """The result of a reconcile run.

    Attributes:
        observed: the observed fleet with the whole plan.
        started: number of started actions by kind.
        not_started: the actions that were not started.
        not_verified: the hosts whose verification failed, each with the reason.
        proven, faulted, skipped, doubted: number of verified routes by result.
        summary: one sentence for a person.
    """

    observed: FleetObserved | None
    started: Mapping[str, int] = {}
    not_started: tuple[NotStarted, ...] = ()
    not_verified: tuple[NotVerified, ...] = ()
    proven: int = 0
    faulted: int = 0
    skipped: int = 0
    doubted: int = 0
    summary: str = ""
