"""Reconciliation: what brings the fleet back to what is declared, and why."""

from collections.abc import Mapping, Set
from datetime import timedelta
from enum import StrEnum

from pydantic import Field

from relight.domain.base import Message
from relight.domain.breaker.breaker import BreakerIncident
from relight.domain.disruption import BudgetSize, DisruptionBudget
from relight.domain.names import (
    ReleaseTag,
    RouteId,
    ScopeName,
)
from relight.domain.pool.pool import PoolAction, PoolStep
from relight.domain.remediation import ReplacementPolicy
from relight.domain.rollout.rollout import Strategy
from relight.domain.sweep.sweep import SweepAction


class ReconcilePolicy(Message):
    """How much one pass of reconciliation does.

    Attributes:
        strategy: the budgets and limits that its swaps keep, and the strategy of rollouts that it
            starts.
        drift: up to so many routes of a scope that are behind its release are swapped one by one;
            more of them are brought there by a rollout.
        proof_lasts: how old a proof may be before the route is proven again.
        max_replacements, max_swaps, max_rollouts, max_verifications, max_pool_steps: how
            many of each a pass begins; repairs count among the swaps.
        max_reported: of how many things that it leaves alone a plan says why.
    """

    strategy: Strategy = Strategy(
        disruption_budget=DisruptionBudget(provider="10%", region="10%", track="10%")
    )
    drift: BudgetSize = "5%"
    replacement: ReplacementPolicy = ReplacementPolicy()
    proof_lasts: timedelta = Field(default=timedelta(hours=24), gt=timedelta(0))
    max_replacements: int = Field(default=2, ge=0)
    max_swaps: int = Field(default=10, ge=0)
    max_rollouts: int = Field(default=1, ge=0)
    max_verifications: int = Field(default=50, ge=0)
    max_pool_steps: int = Field(default=10, ge=0)
    max_reported: int = Field(default=100, ge=0)


class ActionKind(StrEnum):
    """What reconciliation does about something.

    `start rollout`: bring a scope to its release, wave by wave. `swap`: bring one route to it.
    `repair`: swap a route once more to what it should run. `replace`: give it another machine.
    `quarantine`: leave it to a person. `prove`: look at it, and change nothing. `pool` and `sweep`:
    take a step of that plan.
    """

    REPLACE = "replace"
    QUARANTINE = "quarantine"
    REPAIR = "repair"
    SWAP = "swap"
    START_ROLLOUT = "start rollout"
    PROVE = "prove"
    POOL = "pool"
    SWEEP = "sweep"


class Action(Message):
    """One thing that is begun.

    Attributes:
        reason: one sentence for a person.
        release_tag: what is brought there, or is to be proven.
        unreachable: of a replacement: nobody gets through to the machine that it takes away.
        pool: the step of the pool's plan.
        sweep: the step of the sweep.
    """

    kind: ActionKind
    reason: str
    route_id: RouteId | None = None
    scope: ScopeName | None = None
    release_tag: ReleaseTag | None = None
    unreachable: bool = False
    pool: PoolAction | None = None
    sweep: SweepAction | None = None


class LeftAlone(Message):
    """Something that is not as it should be, and is left so in this pass.

    Attributes:
        about: `route R`, `scope S`, `machine M` or `pool P/R`.
        reason: one sentence for a person.
    """

    about: str
    reason: str


class ReconcilePlan(Message):
    """What one pass does, in this order. A dry run shows it; the real pass does it.

    Attributes:
        left_alone: what it does not, and why; the first of them where there are many.
        left_alone_count: how many there are.
        incident: why nothing is destroyed, and nothing changed, while the breaker is open.
    """

    actions: tuple[Action, ...]
    left_alone: tuple[LeftAlone, ...] = ()
    left_alone_count: int = 0
    incident: BreakerIncident | None = None


_BRINGS = frozenset(
    {ActionKind.START_ROLLOUT, ActionKind.SWAP, ActionKind.REPAIR, ActionKind.REPLACE}
)
_POOL_BRINGS = frozenset({PoolStep.CREATE, PoolStep.SWAP})


def releases_brought(plan: ReconcilePlan) -> Set[ReleaseTag]:
    """Return the releases that a plan brings to some machine."""
    return {tag for action in plan.actions if (tag := _brought_by(action)) is not None}


def leave_unknown(
    plan: ReconcilePlan, why_not: Mapping[ReleaseTag, str], max_reported: int
) -> ReconcilePlan:
    """Return a plan without the actions that bring a release that cannot be had.

    Another release is never put in its place: which one was meant, only a person knows.

    Args:
        plan: what would be done.
        why_not: the releases that cannot be had, each with the reason.
        max_reported: of how many things that are left alone the plan says why.
    """
    kept, left = [], {each.about: each.reason for each in plan.left_alone}
    further = 0
    for action in plan.actions:
        reason = why_not.get(_brought_by(action) or "")
        if reason is None:
            kept.append(action)
            continue
        further += about_of(action) not in left
        left.setdefault(about_of(action), f"{action.reason}, but {reason}")
    told = tuple(LeftAlone(about=about, reason=left[about]) for about in sorted(left))
    return plan.model_copy(
        update={
            "actions": tuple(kept),
            "left_alone": told[:max_reported],
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


def _brought_by(action: Action) -> ReleaseTag | None:
    pool = action.pool is not None and action.pool.step in _POOL_BRINGS
    return action.release_tag if action.kind in _BRINGS or pool else None


# MERGEDOC """A plan without what nobody can bring anywhere: releases that their source does not have."""
