"""A plan without what nobody can bring anywhere: releases that their source does not have."""

from collections.abc import Mapping, Set

from messages.names import ReleaseTag
from messages.pool import PoolStep
from messages.reconcile import Action, ActionKind, LeftAlone, ReconcilePlan

_BRINGS = frozenset(
    {ActionKind.START_ROLLOUT, ActionKind.SWAP, ActionKind.REPAIR, ActionKind.REPLACE}
)
_POOL_BRINGS = frozenset({PoolStep.CREATE, PoolStep.SWAP})


def releases_brought(plan: ReconcilePlan) -> Set[ReleaseTag]:
    """Return the releases that a plan brings to some machine."""
    return {tag for action in plan.actions if (tag := _brought_by(action)) is not None}


def leave_unknown(
    plan: ReconcilePlan, why_not: Mapping[ReleaseTag, str], told_at_most: int
) -> ReconcilePlan:
    """Return a plan without the actions that bring a release that cannot be had.

    Another release is never put in its place: which one was meant, only a person knows.

    Args:
        plan: what would be done.
        why_not: the releases that cannot be had, each with the reason.
        told_at_most: of how many things that are left alone the plan says why.
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
            "left_alone": told[:told_at_most],
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
