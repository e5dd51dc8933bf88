"""Reconciliation: what brings the fleet back to what is declared, and why."""

from datetime import timedelta
from enum import StrEnum

from pydantic import Field

from messages.base import Message
from messages.breaker import BreakerIncident
from messages.disruption import BudgetSize, DisruptionBudget
from messages.names import ReleaseTag, RouteId, ScopeName
from messages.pool import PoolAction
from messages.replacement import ReplacementPolicy
from messages.rollout import Strategy
from messages.sweep import SweepAction


class ReconcilePolicy(Message):
    """How much one pass of reconciliation does.

    Attributes:
        strategy: the budgets and limits that its swaps keep, and the strategy of rollouts that it
            starts.
        drift: up to so many routes of a scope that are behind its release are swapped one by one;
            more of them are brought there by a rollout.
        proof_lasts: how old a proof may be before the route is proven again.
        replacements_at_most, swaps_at_most, rollouts_at_most, proofs_at_most, pool_at_most: how
            many of each a pass begins; repairs count among the swaps.
        told_at_most: of how many things that it leaves alone a plan says why.
    """

    strategy: Strategy = Strategy(
        disruption_budget=DisruptionBudget(provider="10%", region="10%", track="10%")
    )
    drift: BudgetSize = "5%"
    replacement: ReplacementPolicy = ReplacementPolicy()
    proof_lasts: timedelta = Field(default=timedelta(hours=24), gt=timedelta(0))
    replacements_at_most: int = Field(default=2, ge=0)
    swaps_at_most: int = Field(default=10, ge=0)
    rollouts_at_most: int = Field(default=1, ge=0)
    proofs_at_most: int = Field(default=50, ge=0)
    pool_at_most: int = Field(default=10, ge=0)
    told_at_most: int = Field(default=100, ge=0)


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
