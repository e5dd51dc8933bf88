"""Rollouts in the store: who moves which scope, where each of its routes is, how it ended."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from temporalio import activity
from temporalio.client import Client

from activities import policies
from activities.operation import current_operation
from relight.domain.disruption import (
    Census,
    DisruptionBudget,
    Group,
    groups_named,
    groups_of,
)
from relight.domain.hold import exclusion_of
from relight.domain.names import RouteId
from relight.domain.rollout.admission import Admission
from relight.domain.rollout.planner import late_joiners, plan_rollout
from relight.domain.rollout.rollout import (
    Architectures,
    CloseRolloutInput,
    OpenRolloutInput,
    PlanRolloutInput,
    RecordControlInput,
    RecordDecisionInput,
    RolloutOpened,
    RolloutPlan,
    Strategy,
)
from relight.domain.rollout.wave import (
    AdvanceWaveInput,
    BeginProofsInput,
    JoinLateInput,
    RetryFailedInput,
    RoutesChanged,
    SkipInput,
    WaveAdvanced,
    WaveWork,
    WidenWaveInput,
)
from relight.domain.route import ListRoutesInput, Recorded
from relight.engine.executions import is_under_way
from relight.engine.step import step
from relight.store.errors import ScopeBusyError
from relight.store.rollout_routes import Chosen, FleetSnapshot
from relight.store.store import Store

NAMED_ROUTES = 500
"""A rollout of more routes does not name each in its history."""

NAMED_PER_WAVE = 20


class RolloutActivities:
    """A scope is claimed, planned, steered and freed; one rollout at a time moves a declaration."""

    def __init__(self, store: Store, temporal: Client) -> None:
        self._store = store
        self._temporal = temporal

    @step(policies.BOOKKEEPING, lambda i: f"{i.release_tag}: {i.scope}")
    async def open_rollout(self, input: OpenRolloutInput) -> RolloutOpened:
        """Claim the scope; a holder whose workflow is gone (terminated, say) loses it."""
        operation = current_operation(input.origin)
        while True:
            try:
                opened = await asyncio.to_thread(self._store.rollouts.open, input, operation)
            except ScopeBusyError as busy:
                holder = busy.holder
                if await is_under_way(self._temporal, holder.workflow_id, holder.run_id):
                    return RolloutOpened(held_by=holder)
                await asyncio.to_thread(self._store.rollouts.abandon, holder, operation)
            else:
                return RolloutOpened(rollout=opened)

    @step(policies.BOOKKEEPING, lambda i: f"of {i.scope}")
    def architectures(self, input: ListRoutesInput) -> Architectures:
        """Return what machines the scope has; none where no route of it has any."""
        return Architectures(names=tuple(self._store.routes.architectures(input.scope)))

    @step(policies.BOOKKEEPING, lambda i: i.scope)
    def plan_rollout(self, input: PlanRolloutInput) -> RolloutPlan:
        """Put every route of the scope into a wave, and keep that."""
        planned = plan_rollout(
            self._store.routes.in_scope(input.scope),
            input.strategy,
            self._store.exclusions.list(),
            self._store.freezes.list(),
            datetime.now(UTC),
            input.release.tag,
        )
        self._store.rollout_routes.plan(_run_id(), planned.waves)
        named = sum(map(len, planned.waves)) <= NAMED_ROUTES
        return RolloutPlan(
            release_tag=input.release.tag,
            scope=input.scope,
            version=input.release.version,
            sizes=tuple(len(wave) for wave in planned.waves),
            waves=tuple(wave if named else wave[:NAMED_PER_WAVE] for wave in planned.waves),
            left_out=planned.left_out if named else planned.left_out[:NAMED_PER_WAVE],
            frozen=planned.frozen if named else planned.frozen[:NAMED_PER_WAVE],
            strata=planned.strata,
            unmet_strata=planned.unmet_strata,
        )

    @step(
        policies.BOOKKEEPING,
        lambda i: f"{i.work}, wave {i.number}: {len(i.ended)} ended, {len(i.in_flight)} under way",
    )
    def advance_wave(self, input: AdvanceWaveInput) -> WaveAdvanced:
        """Write down what ended, and claim the routes that may start now."""
        now = datetime.now(UTC)
        exclusions, freezes = self._store.exclusions.list(), self._store.freezes.list()
        if input.work is WaveWork.ROLL_BACK:
            exclusions, freezes = [], []  # a route goes back whoever would rather keep it
        held = input.work is not WaveWork.PROVE and (
            bool(exclusions or freezes) or _has_limits(input.strategy)
        )

        def choose(waiting: Sequence[RouteId], seen: FleetSnapshot) -> Chosen:
            if not held:
                free = max(0, input.at_most - len(seen.under_way))
                return Chosen(starts=waiting[:free])
            routes = {route.route_id: route for route in seen.routes}
            left_out = [
                route_id
                for route_id in waiting
                if exclusion_of(routes[route_id], exclusions, now, input.release_tag)
            ]
            strategy = input.strategy.model_copy(update={"max_concurrent": input.at_most})
            window = Admission(census_of(seen), strategy, freezes, seen.under_way)
            window.enter(route_id for route_id in waiting if route_id not in left_out)
            starts = window.start(now)
            return Chosen(starts, left_out, window.held_up_by, window.thaws_at)

        return self._store.rollout_routes.advance(input, choose, held=held)

    @step(policies.BOOKKEEPING, lambda i: f"of wave {i.number}")
    def begin_proofs(self, input: BeginProofsInput) -> RoutesChanged:
        """Have the routes of a wave that were proven wait for their further proof."""
        changed = self._store.rollout_routes.begin_proofs(input.rollout_run_id, input.number)
        return RoutesChanged(routes=changed)

    @step(policies.BOOKKEEPING, lambda i: f"wave {i.number} by {i.by}")
    def widen_wave(self, input: WidenWaveInput) -> RoutesChanged:
        """Cut a smaller wave out of the next one; answer with the number of waves."""
        waves = self._store.rollout_routes.widen(input.rollout_run_id, input.number, input.by)
        return RoutesChanged(routes=waves)

    @step(policies.BOOKKEEPING, lambda i: f"as wave {i.number}")
    def join_late(self, input: JoinLateInput) -> RoutesChanged:
        """Make a wave of the routes that came into the scope since the rollout was planned."""
        joined = late_joiners(
            self._store.routes.newcomers(input),
            self._store.exclusions.list(),
            datetime.now(UTC),
            input.release_tag,
        )
        waves = [joined] if joined else []
        kept = self._store.rollout_routes.plan(input.rollout_run_id, waves, input.number)
        return RoutesChanged(routes=kept)

    @step(policies.BOOKKEEPING, lambda i: f"in wave {i.number}")
    def retry_failed(self, input: RetryFailedInput) -> RoutesChanged:
        """Have the routes that failed wait once more."""
        changed = self._store.rollout_routes.retry_failed(input.rollout_run_id, input.number)
        return RoutesChanged(routes=changed)

    @step(policies.BOOKKEEPING, lambda i: i.route_id)
    def skip_route(self, input: SkipInput) -> RoutesChanged:
        """Leave a route out that waits or has failed."""
        skipped = self._store.rollout_routes.skip(input.rollout_run_id, input.route_id)
        return RoutesChanged(routes=int(skipped))

    @step(policies.BOOKKEEPING, lambda i: f"{i.action} by {i.origin.requested_by}")
    def record_control(self, input: RecordControlInput) -> Recorded:
        """Write down who steered a rollout, and why."""
        self._store.events.append(
            f"rollout-{input.action}",
            current_operation(input.origin),
            route_id=input.route_id,
            release_tag=input.release_tag,
            detail={"scope": input.scope},
        )
        return Recorded()

    @step(policies.BOOKKEEPING, lambda i: f"wave {i.wave}: {i.decision}")
    def record_decision(self, input: RecordDecisionInput) -> Recorded:
        """Write down what was decided about a rollout, and why."""
        self._store.events.append(
            "rollout-decided",
            current_operation(input.origin),
            release_tag=input.release_tag,
            detail=input.model_dump(mode="json", exclude={"origin", "release_tag"}),
        )
        return Recorded()

    @step(policies.BOOKKEEPING, lambda i: f"{i.phase}: {i.detail}")
    def close_rollout(self, input: CloseRolloutInput) -> Recorded:
        """Write down how a rollout ended, free its scope, and promote what converged."""
        self._store.rollouts.close(input, current_operation(input.origin))
        return Recorded()


def _has_limits(strategy: Strategy) -> bool:
    """Say whether more than one number limits how many routes are changed at once."""
    caps = (strategy.max_concurrent_per_provider, strategy.max_concurrent_per_region)
    return strategy.disruption_budget != DisruptionBudget() or any(caps)


def _run_id() -> str:
    return activity.info().workflow_run_id or ""


def census_of(seen: FleetSnapshot) -> Census:
    """Return what a window counts with, of a fleet that was seen in part."""
    groups = {route.route_id: groups_of(route) for route in seen.routes}
    in_service: Counter[Group] = Counter()
    for (provider, region, track), routes in seen.in_service.items():
        for group in groups_named(provider, region, track):
            in_service[group] += routes
    return Census(
        routes={route.route_id: route for route in seen.routes},
        groups=groups,
        in_service=in_service,
        out=seen.out,
    )
