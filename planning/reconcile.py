"""What one pass of reconciliation does: the dry run shows this value, the real pass takes it.

A pass begins no more than its policy says, and nothing on a route that is busy. Whatever takes a
route out goes through the rollout's own window, so that one budget is kept whoever uses it. While
the breaker is open a pass only looks.
"""

from collections.abc import Callable
from datetime import datetime

from messages.pool import PoolAction, PoolStep
from messages.reconcile import Action, ActionKind, ReconcilePlan, ReconcilePolicy
from messages.replacement import Treatment
from messages.route import RouteStatus
from messages.sweep import SweepAction, SweepStep
from planning.draft import Draft, FleetView
from planning.drift import ScopeDrift
from planning.healing import prove, quarantine, repair_and_swap, replace
from planning.pool import plan_pool
from planning.restraints import freezes_of, thaws_at


def plan_pass(view: FleetView, policy: ReconcilePolicy, now: datetime) -> ReconcilePlan:
    """Return what a pass does, in its order; the same for the same fleet in whatever order.

    Args:
        view: the fleet.
        policy: how much a pass does.
        now: the instant of the pass, with its time zone.
    """
    draft = Draft(view, policy, now)
    # Records are put right first, and what only a sweep found is destroyed last.
    _sweep(draft, lambda step: step is not SweepStep.DESTROY)
    replace(draft)
    repair_and_swap(draft)
    quarantine(draft)
    _start_rollouts(draft)
    prove(draft)
    _keep_pools(draft)
    _sweep(draft, lambda step: step is SweepStep.DESTROY)
    _tell_of_the_rest(draft)
    return draft.plan()


def _start_rollouts(draft: Draft) -> None:
    room = draft.policy.rollouts_at_most
    for drift in draft.drifts:
        about = f"scope {drift.scope}"
        if drift.tag is None and drift.in_service:
            draft.leave(about, drift.hands_off or "no release is declared for it")
        if not drift.behind or not (drift.takes_rollout or drift.hands_off):
            continue
        reason = (
            f"{len(drift.behind)} of {drift.in_service} routes do not run {drift.tag}, "
            f"{drift.arrived} do"
        )
        why_not = _kept_from_rollout(draft, drift)
        if why_not is None and room == 0:
            why_not = "this pass starts no further rollout"
        if why_not is not None:
            draft.leave(about, f"{reason}, but {why_not}")
            continue
        room -= 1
        draft.add(
            Action(
                kind=ActionKind.START_ROLLOUT,
                reason=reason,
                scope=drift.scope,
                release_tag=drift.tag,
            )
        )


def _kept_from_rollout(draft: Draft, drift: ScopeDrift) -> str | None:
    if drift.hands_off is not None or draft.closed is not None:
        return drift.hands_off or draft.closed
    frozen = all(
        thaws_at(freezes_of(route, draft.view.freezes), draft.now) for route in drift.behind
    )
    return "all of these are frozen" if frozen else None


def _keep_pools(draft: Draft) -> None:
    room = draft.policy.pool_at_most
    pools = sorted(draft.view.pools, key=lambda each: (each[0].provider, each[0].region))
    for target, machines in pools:
        for step in plan_pool(target, machines, draft.now):
            about = f"pool {step.provider}/{step.region}"
            if step.step is PoolStep.KEEP:
                continue
            if why_not := _kept_from_pool(draft, step):
                draft.leave(about, f"{step.step} {step.key or 'a machine'}: {why_not}")
            elif room == 0:
                draft.leave(about, "this pass takes no further step about pools")
            else:
                room -= 1
                if step.step is PoolStep.RECYCLE:
                    draft.allowance.take(step.provider, step.region)
                draft.add(
                    Action(
                        kind=ActionKind.POOL,
                        reason=step.reason,
                        release_tag=step.release_tag,
                        pool=step,
                    )
                )


def _kept_from_pool(draft: Draft, step: PoolAction) -> str | None:
    if step.step is PoolStep.RECYCLE:
        return draft.allowance.why_not(step.provider, step.region)
    return None if step.step is PoolStep.PROVE else draft.closed


def _sweep(draft: Draft, takes: Callable[[SweepStep], bool]) -> None:
    for step in draft.view.sweep.actions:
        if not takes(step.step):
            continue
        why_not = _kept_from_sweeping(draft, step)
        if why_not is None:
            draft.add(Action(kind=ActionKind.SWEEP, reason=step.reason, sweep=step))
        else:
            about = f"machine {step.key}" if step.key else f"operation {step.reason}"
            draft.leave(about, f"{step.reason}, but {why_not}")
    if takes(SweepStep.DESTROY):
        for step in draft.view.sweep.left:
            draft.leave(f"machine {step.key}" if step.key else "operation", step.reason)


def _kept_from_sweeping(draft: Draft, step: SweepAction) -> str | None:
    """Return why a step of the sweep is not taken now; a machine that it destroys is counted."""
    if step.step is not SweepStep.DESTROY:
        # That a workflow is gone is known from the engine, and not from what cannot be reached.
        return None if step.step is SweepStep.CLOSE else draft.closed
    if step.machine is None:
        return "nobody saw it at its provider"
    place = step.machine.provider, step.machine.region
    why_not = draft.allowance.why_not(*place)
    if why_not is None:
        draft.allowance.take(*place)
    return why_not


def _tell_of_the_rest(draft: Draft) -> None:
    """Say of each route that is out, and that nothing is done about, why that is so."""
    for route in draft.needing(Treatment.LEAVE_ALONE):
        if route.status is not RouteStatus.SERVING and route.route_id not in draft.taken:
            draft.leave(f"route {route.route_id}", draft.decisions[route.route_id].reason)
