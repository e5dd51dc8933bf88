"""One observation of the whole fleet, and the reconcile plan that follows from it.

The order of reading is that of the sweep (`relight/domain/sweep/planner.py`): first the listings
of the providers, then the open workflows, then the records in the store.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import NamedTuple

from temporalio.client import Client

from activities import policies
from activities.execution import current_operation
from activities.fleet.downgrades import without_downgrades
from activities.fleet.missing import gone_pool_machines, gone_routes, search_missing
from activities.fleet.outside import Outside, OutsideObserver
from activities.fleet.reading import without, without_unclear
from activities.machine.presence import Presence
from activities.pinned_releases import PinnedReleases
from relight.breaker_evaluation import BreakerEvaluation
from relight.connectivity import ConnectivityCheck, run_all
from relight.domain.breaker.breaker import (
    Breaker,
    BreakerLimits,
    ConnectivityResult,
)
from relight.domain.clock import FutureTimes
from relight.domain.destruction import HOUR, EvaluateBreakerInput
from relight.domain.drift import Declarations
from relight.domain.fault.error import DomainError
from relight.domain.fault.fault import Fault
from relight.domain.names import (
    DEFAULT_RELEASE_SETTING,
    ReleaseTag,
    RouteId,
    route_workflow_id,
)
from relight.domain.pool.pool import PoolMachine, PoolTarget
from relight.domain.pool.remediation import observation_of_pool
from relight.domain.pool.tries import PoolPolicy
from relight.domain.reconcile.builder import FleetView, observations_of
from relight.domain.reconcile.plan import (
    ReconcilePlan,
    ReconcilePolicy,
    drop_unavailable,
    required_releases,
)
from relight.domain.reconcile.planner import plan_reconcile
from relight.domain.reconcile.run import (
    BreakerEvaluated,
    FleetObserved,
    ReconcileFleetInput,
    routes_to_verify,
)
from relight.domain.remediation import ReplacementPolicy
from relight.domain.route import Route, RouteStatus
from relight.domain.route_history import RouteHistory
from relight.domain.sweep.planner import (
    SweepView,
    lock_of,
    lock_of_record,
    plan_sweep,
)
from relight.domain.sweep.sweep import (
    SweepPlan,
    SweepPolicy,
)
from relight.engine.step import step
from relight.pool_target import pool_targets
from relight.store import bad_rows
from relight.store.bad_rows import BadRows
from relight.store.events import Operation
from relight.store.store import Store
from relight.store.tables import MachineRow, RouteRemediationRow
from relight.store.threads import in_thread

SKEW_PAIRS = 20
"""Listed of each track in the result of an observation, which is in the history of each run."""


class BreakerSettings(NamedTuple):
    """What the breaker is evaluated with, where no reconcile run says it.

    Attributes:
        policy: says which routes are verified.
        limits: the breaker's.
        pool: how pools try, also in a reconcile run.
    """

    policy: ReconcilePolicy
    limits: BreakerLimits
    pool: PoolPolicy = PoolPolicy()


@dataclass(frozen=True)
class _Observation:
    """The observation together with the records of the store.

    Attributes:
        view: the fleet, as the planner needs it.
        connectivity: the latest result of each check, also of checks no longer configured.
        gone: changes only: since when the listings of its provider lack the machine of a route, or
            None where they have it again.
        gone_pool: the same of pool machines, by key.
        clock: the incident that records have times of the future, None if they have none.
        locks: the workflow id that locks each machine, by the machine's key.
    """

    view: FleetView
    connectivity: tuple[ConnectivityResult, ...]
    gone: Mapping[RouteId, datetime | None]
    gone_pool: Mapping[str, datetime | None]
    locks: Mapping[str, str]
    clock: Fault | None = None


class ObservationActivities:
    """Observes the fleet and plans. A dry run does the same, and writes nothing."""

    def __init__(
        self,
        store: Store,
        presence: Presence,
        repository: PinnedReleases,
        connectivity: Sequence[ConnectivityCheck],
        owner: str,
        temporal: Client,
        settings: BreakerSettings,
    ) -> None:
        self._store = store
        self._presence = presence
        self._outside = OutsideObserver(presence.drivers, connectivity, temporal)
        self._repository = repository
        self._owner = owner
        self._settings = settings

    @step(policies.OBSERVE, lambda i: "dry run" if i.dry_run else "whole fleet")
    async def observe_fleet(self, input: ReconcileFleetInput) -> FleetObserved:
        """Return what a reconcile run would do now.

        Unless it is a dry run, this saves the results of the connectivity checks, the machines
        that are missing at their providers, and the state of the breaker.
        """
        outside = await self._outside.observe()
        with bad_rows.collecting() as bad:
            observation = await in_thread(self._read_store, outside, input, bad)
            view, missed = observation.view, observation.gone.keys()
            found = await search_missing(self._presence, view, missed, input.policy.replacement)
            view = replace(view, histories=found.histories)
            gone = {**observation.gone, **found.there}
            observation = replace(observation, view=view, gone=gone)
            now = datetime.now(UTC)
            operation = None if input.dry_run else current_operation(input.origin)
            breaker = await in_thread(self._update_breaker, observation, input, now, operation)
            skew = await in_thread(self._store.skew.get, SKEW_PAIRS)
        plan = plan_reconcile(replace(observation.view, breaker=breaker), input.policy, now)
        if observation.clock is not None:
            plan = plan.model_copy(update={"faults": (*plan.faults, observation.clock)})
        if operation is not None:
            await in_thread(self._store.incidents.update, plan.faults, operation)
        plan = await self._without_unknown_releases(plan, observation.view.routes, input)
        plan = await in_thread(without_downgrades, self._store, plan, view, input.policy)
        keys = {action.sweep.key for action in plan.actions if action.sweep}
        return FleetObserved(
            at=now,
            plan=plan,
            breaker=breaker,
            locks={key: observation.locks[key] for key in sorted(keys & observation.locks.keys())},
            unobserved=(*outside.unobserved, *map(str, bad)),
            skew=skew,
        )

    @step(policies.OBSERVE, lambda _: "whole fleet")
    async def evaluate_breaker(self, input: EvaluateBreakerInput) -> BreakerEvaluated:
        """Run the connectivity checks, and save them and the breaker's state that follows.

        What waits for the breaker calls this, so that it also ends where no schedule reconciles.
        Providers are not observed: that is a reconcile run's.
        """
        outside = Outside(
            listings=(),
            unobserved=(),
            open_workflows=await self._outside.open_workflows(),
            connectivity=await run_all(self._outside.connectivity),
        )
        limits, wanted = self._settings.limits, input.max_verified
        policy = self._settings.policy.model_copy(update={"max_verifications": wanted})
        fleet = ReconcileFleetInput(origin=input.origin, policy=policy, limits=limits)
        with bad_rows.collecting() as bad:
            observation = await in_thread(self._read_store, outside, fleet, bad)
        now, operation = datetime.now(UTC), current_operation(input.origin)
        breaker = await in_thread(self._update_breaker, observation, fleet, now, operation)
        plan = plan_reconcile(replace(observation.view, breaker=breaker), policy, now)
        return BreakerEvaluated(
            to_verify=routes_to_verify(plan.actions),
            locked_out=tuple(
                action.route_id for action in plan.actions if action.locked_out and action.route_id
            ),
            locks_out=breaker.incident is not None and breaker.incident.locks_out,
        )

    async def _without_unknown_releases(
        self, plan: ReconcilePlan, routes: Sequence[Route], input: ReconcileFleetInput
    ) -> ReconcilePlan:
        """Leave out actions whose release the source does not have or cannot resolve now."""
        architectures = sorted({each.architecture for each in routes if each.architecture})
        reasons: dict[ReleaseTag, str] = {}
        for tag in sorted(required_releases(plan)):
            try:
                await self._repository.resolve(tag, architectures)
            except DomainError as error:
                reasons[tag] = str(error)
        return drop_unavailable(plan, reasons, input.policy.max_reported)

    def _read_store(
        self, outside: Outside, input: ReconcileFleetInput, bad: BadRows
    ) -> _Observation:
        """Read the records, after everything outside was read.

        What an invalid record may be about is left alone.
        """
        store, now = self._store, datetime.now(UTC)
        times = FutureTimes(now)
        times.note(store.events.latest_time(), "an event")
        routes = [
            times.of_route(each)
            for each in store.routes.list()
            if each.status is not RouteStatus.RETIRED
        ]
        tracks, rollouts = store.tracks.list(), store.declarations.rollouts()
        routes = without_unclear(routes, tracks, bad, store.declarations.scopes)
        busy = self._busy(routes, outside.open_workflows)
        since = now - input.policy.replacement.window
        histories = {
            route_id: times.of_history(history)
            for route_id, history in store.remediations.histories(since).items()
        }
        busy |= bad.of(RouteRemediationRow)
        gone = gone_routes(routes, outside.listings, histories, busy, now)
        for route_id, gone_since in gone.items():
            known = histories.get(route_id) or RouteHistory(route_id=route_id, machine_key=None)
            histories[route_id] = known.model_copy(update={"gone_since": gone_since})
        pool = [times.of_pool_machine(each) for each in store.pool.list()]
        sweep, locks = self._plan_sweep(outside, input, now, bad)
        default = store.fleet_settings.all().get(DEFAULT_RELEASE_SETTING)
        view = FleetView(
            routes=routes,
            declarations=Declarations(
                tracks=tracks,
                fleet_default=default,
                rollouts=rollouts,
                declared_at=store.declarations.times(),
            ),
            breaker=Breaker(),  # Replaced later: its state depends on what is read here.
            limits=input.limits,
            histories=histories,
            busy=busy,
            exclusions=store.exclusions.standing(now),
            freezes=store.freezes.standing(now),
            destructions=store.destructions.list(now - max(HOUR, input.limits.remembered_for)),
            pools=self._pools(input.policy.replacement, pool),
            sweep=sweep,
        )
        saved = {each.name: each for each in times.of_connectivity(store.breaker.connectivity())}
        latest = saved | {each.name: each for each in outside.connectivity}
        breaker = store.breaker.get()
        if breaker.incident is not None:
            times.note(breaker.incident.opened_at, "the incident of the breaker")
        times.note(breaker.calm_since, "the breaker's calm")
        for holds in (store.freezes, store.exclusions, store.breaker_overrides):
            for hold in holds.list():
                times.note(hold.added_at, f"{hold.kind} {hold.hold_id}")
        return _Observation(
            view=view,
            connectivity=tuple(latest[name] for name in sorted(latest)),
            gone=gone,
            gone_pool=gone_pool_machines(pool, outside.listings, now),
            locks=locks,
            clock=times.fault(),
        )

    def _busy(self, routes: Sequence[Route], open_workflows: Set[str]) -> frozenset[RouteId]:
        """Return the routes with a running operation, according to Temporal or the store."""
        running = {
            route.route_id
            for route in routes
            if route_workflow_id(route.route_id) in open_workflows
        }
        return self._store.verifications.routes_in_operation() | running

    def _plan_sweep(
        self, outside: Outside, input: ReconcileFleetInput, now: datetime, bad: BadRows
    ) -> tuple[SweepPlan, Mapping[str, str]]:
        machines = [machine for listing in outside.listings for machine in listing.machines]
        records = self._store.sweeps.machines({machine.key for machine in machines})
        view = SweepView(
            # A machine whose record is invalid is no machine without a record.
            listings=[without(each, bad.of(MachineRow)) for each in outside.listings],
            open_workflows=outside.open_workflows,
            records=records,
            operations=self._store.sweeps.open_operations(),
            route_ids=self._store.sweeps.route_ids(),
            newest=self._store.sweeps.newest(),
        )
        policy = SweepPolicy(
            owner=self._owner, grace=input.grace, gone_for=input.policy.replacement.gone_for
        )
        plan = plan_sweep(view, policy, now)
        locks = {each.key: lock_of(each.key, each.provider, each.region) for each in machines}
        locks |= {each.key: lock_of_record(each) for each in records}
        return plan, {key: lock for key, lock in locks.items() if lock is not None}

    def _pools(
        self, replacement: ReplacementPolicy, machines: Sequence[PoolMachine]
    ) -> tuple[tuple[PoolTarget, Sequence[PoolMachine]], ...]:
        targets = pool_targets(
            self._store, self._store.pool_sizes.list(), self._settings.pool, replacement
        )
        return tuple(
            (
                target,
                [
                    machine
                    for machine in machines
                    if (machine.provider, machine.region) == (target.provider, target.region)
                ],
            )
            for target in targets
        )

    def _update_breaker(
        self,
        observation: _Observation,
        input: ReconcileFleetInput,
        now: datetime,
        operation: Operation | None,
    ) -> Breaker:
        """Return the breaker after this observation; without an operation, save nothing.

        With an operation, also save the connectivity results and the missing machines.
        """
        store, view = self._store, observation.view
        machines = [*observations_of(view), *map(observation_of_pool, store.pool.list())]
        if operation is not None:
            for route_id, since in observation.gone.items():
                store.remediations.record_gone_since(route_id, since)
            for key, since in observation.gone_pool.items():
                store.sweeps.record_pool_gone_since(key, since)
            store.breaker.record_connectivity(observation.connectivity)
        evaluation = BreakerEvaluation(store, input.limits, input.policy.replacement.window)
        return evaluation.update(
            machines, view.destructions, observation.connectivity, now, operation
        )
