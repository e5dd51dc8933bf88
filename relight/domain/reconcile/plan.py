"""The reconcile plan: the actions that bring the fleet to what is declared, with their reasons."""

from collections.abc import Callable, Mapping, Set
from datetime import timedelta
from enum import StrEnum

from pydantic import Field

from relight.domain.base import Message
from relight.domain.breaker.breaker import BreakerIncident
from relight.domain.disruption import BudgetSize, DisruptionBudget
from relight.domain.duration import Duration
from relight.domain.fault.fault import Fault
from relight.domain.names import (
    ReleaseTag,
    RouteId,
    ScopeName,
)
from relight.domain.pool.pool import PoolAction, PoolStep
from relight.domain.remediation import ReplacementPolicy
from relight.domain.rollout.strategy import Strategy
from relight.domain.sweep.sweep import SweepAction

MAX_VERIFICATIONS = 2000
"""How many verifications one plan has at most. A plan is one message of the engine, which has a
limit of 2 MiB; a verification takes up to half a KiB of it."""


class ReconcilePolicy(Message):
    """Limits of one reconcile run.

    Attributes:
        strategy: the budgets and limits for its swaps, and the strategy of the rollouts that it
            starts.
        drift: up to this many routes of a scope that are behind its release are swapped one by
            one; more of them need a rollout.
        proof_lasts: how old a proof may be before the route is verified.
        doubtful: if more of the routes in service run another release than our records say, the
            records as a whole are in doubt: nothing is changed.
        max_replacements, max_swaps, max_rollouts, max_verifications, max_pool_steps: how many of
            each one run starts; repairs count as swaps. Of verifications never more than
            `MAX_VERIFICATIONS`.
        max_reported: how many entries of `left_alone` a plan lists.
    """

    strategy: Strategy = Strategy(
        disruption_budget=DisruptionBudget(provider="10%", region="10%", track="10%")
    )
    drift: BudgetSize = "5%"
    doubtful: BudgetSize = "10%"
    replacement: ReplacementPolicy = ReplacementPolicy()
    proof_lasts: Duration = Field(default=timedelta(hours=24), gt=timedelta(0))
    max_replacements: int = Field(default=2, ge=0)
    max_swaps: int = Field(default=10, ge=0)
    max_rollouts: int = Field(default=1, ge=0)
    max_verifications: int = Field(default=50, ge=0)
    max_pool_steps: int = Field(default=10, ge=0)
    max_reported: int = Field(default=100, ge=0)


class ActionKind(StrEnum):
    """The kind of an action.

    `start rollout`: bring a scope to its release, wave by wave. `swap`: swap one route to it.
    `repair`: swap a route again to what it should run. `replace`: give it another machine.
    `quarantine`: leave it to a person. `verify`: observe it; nothing is changed. `pool`, `sweep`:
    take a step of the pool's or the sweep's plan.
    """

    REPLACE = "replace"
    QUARANTINE = "quarantine"
    REPAIR = "repair"
    SWAP = "swap"
    START_ROLLOUT = "start rollout"
    VERIFY = "verify"
    POOL = "pool"
    SWEEP = "sweep"


class Action(Message):
    """One action of a reconcile run.

    Attributes:
        reason: one sentence for a person.
        release_tag: the release to install or to verify. A replacement installs another one if it
            is known as bad, unless it is a pin.
        machine_key: the route's machine.
        unreachable: for a replacement: the old machine cannot be reached.
        requested: for a replacement: a person asked for it.
        gone: for a replacement: the provider does not have the old machine.
        pinned: for a replacement: the route is pinned to the release.
        locked_out: for a verification: the machine locks the control plane out, as others do.
        pool: the step of the pool's plan.
        sweep: the step of the sweep.
    """

    kind: ActionKind
    reason: str
    route_id: RouteId | None = None
    scope: ScopeName | None = None
    release_tag: ReleaseTag | None = None
    machine_key: str | None = None
    unreachable: bool = False
    requested: bool = False
    gone: bool = False
    pinned: bool = False
    locked_out: bool = False
    pool: PoolAction | None = None
    sweep: SweepAction | None = None


class LeftAlone(Message):
    """Something that is not as declared, and that this run does not change.

    Attributes:
        about: `route R`, `scope S`, `machine M` or `pool P/R`.
        reason: one sentence for a person.
    """

    about: str
    reason: str


class ReconcilePlan(Message):
    """The actions of one reconcile run, in their order. With `--dry-run` it is only shown.

    Attributes:
        left_alone: what is left as it is, with the reasons; only the first ones if there are many.
        left_alone_count: the total number of them.
        incident: why the breaker is open and nothing is changed; None while it is closed.
        faults: what is wrong with the control plane itself, as records that may be old.
    """

    actions: tuple[Action, ...]
    left_alone: tuple[LeftAlone, ...] = ()
    left_alone_count: int = 0
    incident: BreakerIncident | None = None
    faults: tuple[Fault, ...] = ()


_INSTALLS = frozenset(
    {ActionKind.START_ROLLOUT, ActionKind.SWAP, ActionKind.REPAIR, ActionKind.REPLACE}
)
_POOL_INSTALLS = frozenset({PoolStep.CREATE, PoolStep.SWAP})


def required_releases(plan: ReconcilePlan) -> Set[ReleaseTag]:
    """Return the releases that a plan installs on some machine."""
    return {tag for action in plan.actions if (tag := _installed_by(action)) is not None}


def drop_unavailable(
    plan: ReconcilePlan, why_not: Mapping[ReleaseTag, str], max_reported: int
) -> ReconcilePlan:
    """Return a plan without the actions that install an unavailable release.

    It is never substituted by another release, since only a person knows which one was meant.

    Args:
        plan: the plan.
        why_not: the unavailable releases, each with the reason.
        max_reported: how many entries of `left_alone` the plan lists.
    """
    return drop(plan, lambda action: why_not.get(_installed_by(action) or ""), max_reported)


def drop(
    plan: ReconcilePlan, why_not: Callable[[Action], str | None], max_reported: int
) -> ReconcilePlan:
    """Return a plan without some actions, which it leaves alone.

    Args:
        plan: the plan.
        why_not: returns why an action is not taken; None if it is.
        max_reported: how many entries of `left_alone` the plan lists.
    """
    kept, left = [], {each.about: each.reason for each in plan.left_alone}
    further = 0
    for action in plan.actions:
        reason = why_not(action)
        if reason is None:
            kept.append(action)
            continue
        further += about_of(action) not in left
        left.setdefault(about_of(action), f"{action.reason}, but {reason}")
    left_alone = tuple(LeftAlone(about=about, reason=left[about]) for about in sorted(left))
    return plan.model_copy(
        update={
            "actions": tuple(kept),
            "left_alone": left_alone[:max_reported],
            "left_alone_count": plan.left_alone_count + further,
        }
    )


def about_of(action: Action) -> str:
    """Return what an action is about, as in `route eu-1`."""
    if action.route_id is not None:
        return f"route {action.route_id}"
    if action.scope is not None:
        return f"scope {action.scope}"
    if action.pool is not None:
        return f"pool {action.pool.provider}/{action.pool.region}"
    if action.sweep is not None and action.sweep.key:
        return f"machine {action.sweep.key}"
    operation = action.sweep.operation if action.sweep else None
    return f"operation {operation.workflow_id}" if operation else action.kind


def _installed_by(action: Action) -> ReleaseTag | None:
    pool = action.pool is not None and action.pool.step in _POOL_INSTALLS
    return action.release_tag if action.kind in _INSTALLS or pool else None
