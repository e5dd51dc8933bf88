"""What one pass of reconciliation does: the dry run shows this value, the real pass takes it.

A pass begins no more than its policy says, and nothing on a route that is busy. Whatever takes a
route out goes through the rollout's own window, so that one budget is kept whoever uses it. While
the breaker is open a pass only looks.
"""

from collections.abc import Callable
from datetime import datetime

from relight.domain.drift import ScopeDrift
from relight.domain.hold import freezes_of, thaws_at
from relight.domain.pool.pool import PoolAction, PoolStep, plan_pool
from relight.domain.reconcile.builder import FleetView, PlanBuilder
from relight.domain.reconcile.plan import (
    Action,
    ActionKind,
    ReconcilePlan,
    ReconcilePolicy,
)
from relight.domain.reconcile.routes import (
    prove,
    quarantine,
    repair_and_swap,
    replace,
)
from relight.domain.remediation import Remediation
from relight.domain.route import RouteStatus
from relight.domain.sweep.sweep import SweepAction, SweepStep


def plan_reconcile(view: FleetView, policy: ReconcilePolicy, now: datetime) -> ReconcilePlan:
    """Return what a pass does, in its order; the same for the same fleet in whatever order.

    Args:
        view: the fleet.
        policy: how much a pass does.
        now: the instant of the pass, with its time zone.
    """
    builder = PlanBuilder(view, policy, now)
    # Records are put right first, and what only a sweep found is destroyed last.
    _sweep(builder, lambda step: step is not SweepStep.DESTROY)
    replace(builder)
    repair_and_swap(builder)
    quarantine(builder)
    _start_rollouts(builder)
    prove(builder)
    _keep_pools(builder)
    _sweep(builder, lambda step: step is SweepStep.DESTROY)
    _report_the_rest(builder)
    return builder.plan()


def _start_rollouts(builder: PlanBuilder) -> None:
    room = builder.policy.max_rollouts
    for drift in builder.drifts:
        about = f"scope {drift.scope}"
        if drift.tag is None and drift.in_service:
            builder.leave(about, drift.hands_off or "no release is declared for it")
        if not drift.behind or not (drift.takes_rollout or drift.hands_off):
            continue
        reason = (
            f"{len(drift.behind)} of {drift.in_service} routes do not run {drift.tag}, "
            f"{drift.arrived} do"
        )
        why_not = _kept_from_rollout(builder, drift)
        if why_not is None and room == 0:
            why_not = "this pass starts no further rollout"
        if why_not is not None:
            builder.leave(about, f"{reason}, but {why_not}")
            continue
        room -= 1
        builder.add(
            Action(
                kind=ActionKind.START_ROLLOUT,
                reason=reason,
                scope=drift.scope,
                release_tag=drift.tag,
            )
        )


def _kept_from_rollout(builder: PlanBuilder, drift: ScopeDrift) -> str | None:
    if drift.hands_off is not None or builder.closed is not None:
        return drift.hands_off or builder.closed
    frozen = all(
        thaws_at(freezes_of(route, builder.view.freezes), builder.now) for route in drift.behind
    )
    return "all of these are frozen" if frozen else None


def _keep_pools(builder: PlanBuilder) -> None:
    room = builder.policy.max_pool_steps
    pools = sorted(builder.view.pools, key=lambda each: (each[0].provider, each[0].region))
    for target, machines in pools:
        for step in plan_pool(target, machines, builder.now):
            about = f"pool {step.provider}/{step.region}"
            if step.step is PoolStep.KEEP:
                continue
            if why_not := _kept_from_pool(builder, step):
                builder.leave(about, f"{step.step} {step.key or 'a machine'}: {why_not}")
            elif room == 0:
                builder.leave(about, "this pass takes no further step about pools")
            else:
                room -= 1
                if step.step is PoolStep.RECYCLE:
                    builder.allowance.take(step.provider, step.region)
                builder.add(
                    Action(
                        kind=ActionKind.POOL,
                        reason=step.reason,
                        release_tag=step.release_tag,
                        pool=step,
                    )
                )


def _kept_from_pool(builder: PlanBuilder, step: PoolAction) -> str | None:
    if step.step is PoolStep.RECYCLE:
        return builder.allowance.why_not(step.provider, step.region)
    return None if step.step is PoolStep.PROVE else builder.closed


def _sweep(builder: PlanBuilder, takes: Callable[[SweepStep], bool]) -> None:
    for step in builder.view.sweep.actions:
        if not takes(step.step):
            continue
        why_not = _kept_from_sweeping(builder, step)
        if why_not is None:
            builder.add(Action(kind=ActionKind.SWEEP, reason=step.reason, sweep=step))
        else:
            about = f"machine {step.key}" if step.key else f"operation {step.reason}"
            builder.leave(about, f"{step.reason}, but {why_not}")
    if takes(SweepStep.DESTROY):
        for step in builder.view.sweep.left:
            builder.leave(f"machine {step.key}" if step.key else "operation", step.reason)


def _kept_from_sweeping(builder: PlanBuilder, step: SweepAction) -> str | None:
    """Return why a step of the sweep is not taken now; a machine that it destroys is counted."""
    if step.step is not SweepStep.DESTROY:
        # That a workflow is gone is known from the engine, and not from what cannot be reached.
        return None if step.step is SweepStep.CLOSE else builder.closed
    if step.machine is None:
        return "nobody saw it at its provider"
    place = step.machine.provider, step.machine.region
    why_not = builder.allowance.why_not(*place)
    if why_not is None:
        builder.allowance.take(*place)
    return why_not


def _report_the_rest(builder: PlanBuilder) -> None:
    """Say of each route that is out, and that nothing is done about, why that is so."""
    for route in builder.needing(Remediation.LEAVE_ALONE):
        if route.status is not RouteStatus.SERVING and route.route_id not in builder.taken:
            builder.leave(f"route {route.route_id}", builder.decisions[route.route_id].reason)
