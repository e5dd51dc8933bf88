"""Planning of a reconcile run. A dry run shows the same plan that a real run executes.

A run starts no more than its policy allows, and nothing on a busy route. Everything that takes a
route out goes through the same `Admission` as a rollout, so that all operations share one budget.
While the breaker is open a run only verifies.
"""

from collections.abc import Callable
from datetime import datetime

from relight.domain.drift import ScopeDrift
from relight.domain.hold import freezes_of, thaws_at
from relight.domain.pool.planner import plan_pool, why_pool_waits
from relight.domain.pool.pool import PoolAction, PoolStatus, PoolStep
from relight.domain.reconcile.builder import FleetView, PlanBuilder
from relight.domain.reconcile.plan import (
    Action,
    ActionKind,
    ReconcilePlan,
    ReconcilePolicy,
)
from relight.domain.reconcile.routes import (
    quarantine,
    repair_and_swap,
    replace,
    verify,
)
from relight.domain.remediation import Remediation
from relight.domain.route import RouteStatus
from relight.domain.sweep.sweep import SweepAction, SweepStep


def plan_reconcile(view: FleetView, policy: ReconcilePolicy, now: datetime) -> ReconcilePlan:
    """Return the plan of a reconcile run. It does not depend on the order of the input.

    Args:
        view: the fleet.
        policy: the limits of a run.
        now: the time of the run, with its time zone.
    """
    builder = PlanBuilder(view, policy, now)
    # Records are corrected first; machines that only the sweep found are destroyed last.
    _sweep(builder, lambda step: step is not SweepStep.DESTROY)
    replace(builder)
    repair_and_swap(builder)
    quarantine(builder)
    _start_rollouts(builder)
    verify(builder)
    _keep_pools(builder)
    _sweep(builder, lambda step: step is SweepStep.DESTROY)
    _report_the_rest(builder)
    return builder.plan()


def _start_rollouts(builder: PlanBuilder) -> None:
    room = builder.policy.max_rollouts
    for drift in builder.drifts:
        about = f"scope {drift.scope}"
        if drift.tag is None and drift.in_service:
            builder.leave(about, drift.blocked_reason or "no release is declared for it")
        if not drift.behind or not (drift.needs_rollout or drift.blocked_reason):
            continue
        reason = (
            f"{len(drift.behind)} of {drift.in_service} routes do not run {drift.tag}, "
            f"{drift.arrived} do"
        )
        why_not = _kept_from_rollout(builder, drift)
        if why_not is None and room == 0:
            why_not = "this run starts no further rollout"
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
    if drift.blocked_reason is not None or builder.blocked is not None:
        return drift.blocked_reason or builder.blocked
    frozen = all(
        thaws_at(freezes_of(route, builder.view.freezes), builder.now) for route in drift.behind
    )
    return "all of these are frozen" if frozen else None


def _keep_pools(builder: PlanBuilder) -> None:
    room = builder.policy.max_pool_steps
    pools = sorted(builder.view.pools, key=lambda each: (each[0].provider, each[0].region))
    for target, machines in pools:
        about = f"pool {target.provider}/{target.region}"
        ready = sum(each.status is PoolStatus.READY for each in machines)
        if ready < target.size and (waits := why_pool_waits(target, builder.now)):
            builder.leave(about, f"{ready} of {target.size} are ready, but {waits}")
        observe = builder.pool_to_observe
        for step in plan_pool(target, machines, builder.now, builder.locked_out, observe):
            if step.step is PoolStep.KEEP:
                continue
            if why_not := _kept_from_pool(builder, step):
                builder.leave(about, f"{step.step} {step.key or 'a machine'}: {why_not}")
            elif room == 0:
                builder.leave(about, "this run takes no further pool steps")
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
        return builder.why_not_destroy(step.provider, step.region)
    return None if step.step is PoolStep.VERIFY else builder.blocked


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
    """Return why a step of the sweep is not taken now, else None; count its destruction."""
    if step.step is not SweepStep.DESTROY:
        # That a workflow has ended is known from the engine, whatever can be reached.
        return None if step.step is SweepStep.CLOSE else builder.blocked
    if step.machine is None:
        return "it was not observed at its provider"
    location = step.machine.provider, step.machine.region
    why_not = builder.why_not_destroy(*location)
    if why_not is None:
        builder.allowance.take(*location)
    return why_not


def _report_the_rest(builder: PlanBuilder) -> None:
    """Report each route that is out, or whose record is in doubt, and that has no action."""
    for route in builder.needing(Remediation.LEAVE_ALONE):
        doubted = any(each.route_id == route.route_id for each in builder.doubts)
        out = route.status is not RouteStatus.SERVING
        if (out or doubted) and route.route_id not in builder.taken:
            builder.leave(f"route {route.route_id}", builder.decisions[route.route_id].reason)
