"""One observation of the whole fleet, and the reconcile plan that follows from it.

The order of reading is that of the sweep (`relight/domain/sweep/planner.py`): first the listings
of the providers, then the open workflows, then the records in the store.
"""

import asyncio
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from temporalio.client import Client

from activities import policies
from activities.execution import current_operation
from activities.fleet.connectivity import ConnectivityCheck, run_all
from relight.domain.breaker.breaker import (
    Breaker,
    BreakerLimits,
    ConnectivityResult,
    MachineObservation,
)
from relight.domain.breaker.decisions import count_reach, update_breaker
from relight.domain.destruction import HOUR, EvaluateBreakerInput
from relight.domain.drift import Declarations
from relight.domain.fault.error import DomainError
from relight.domain.names import (
    DEFAULT_RELEASE_SETTING,
    ReleaseTag,
    RouteId,
    route_workflow_id,
)
from relight.domain.pool.pool import PoolMachine, PoolTarget
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
from relight.domain.remediation import RouteHistory
from relight.domain.route import Route, RouteStatus
from relight.domain.sweep.planner import (
    SweepView,
    lock_of,
    lock_of_record,
    plan_sweep,
)
from relight.domain.sweep.sweep import (
    ProviderListing,
    SweepPlan,
    SweepPolicy,
)
from relight.engine.step import step
from relight.providers.driver import ProviderDriver
from relight.releases.source import ReleaseSource
from relight.store.events import Operation
from relight.store.store import Store
from relight.store.threads import in_thread

LISTING_TIMEOUT = timedelta(seconds=60)
"""After it, the sweep leaves out the machines of this provider."""

MAX_VERIFIED = 25
"""How many routes are verified for one evaluation of the breaker."""

OPEN_OPERATIONS = (
    "ExecutionStatus = 'Running' AND (WorkflowId STARTS_WITH 'route/' "
    "OR WorkflowId STARTS_WITH 'machine/' OR WorkflowId STARTS_WITH 'pool/' "
    "OR WorkflowId STARTS_WITH 'rollout/')"
)


class BreakerSettings(NamedTuple):
    """What the breaker is evaluated with, where no reconcile run says it.

    Attributes:
        policy: says which routes are verified.
        limits: the breaker's.
    """

    policy: ReconcilePolicy
    limits: BreakerLimits


@dataclass(frozen=True)
class _Outside:
    """What was observed outside of the store.

    Attributes:
        listings: of the providers that answered.
        unasked: what could not be observed, each with the reason.
        open_workflows: the ids of the workflows that run.
        connectivity: the results of all connectivity checks.
    """

    listings: tuple[ProviderListing, ...]
    unobserved: tuple[str, ...]
    open_workflows: frozenset[str]
    connectivity: tuple[ConnectivityResult, ...]


@dataclass(frozen=True)
class _Observation:
    """The observation together with the records of the store.

    Attributes:
        view: the fleet, as the planner needs it.
        connectivity: the latest result of each check, also of checks no longer configured.
        gone: changes only: since when the machine of a route is missing at its provider, or None
            where a machine that was missing is there again.
        locks: the workflow id that locks each machine, by the machine's key.
    """

    view: FleetView
    connectivity: tuple[ConnectivityResult, ...]
    gone: Mapping[RouteId, datetime | None]
    locks: Mapping[str, str]


class ObservationActivities:
    """Observes the fleet and plans. A dry run does the same, and writes nothing."""

    def __init__(
        self,
        store: Store,
        drivers: Mapping[str, ProviderDriver],
        repository: ReleaseSource,
        connectivity: Sequence[ConnectivityCheck],
        owner: str,
        temporal: Client,
        settings: BreakerSettings,
    ) -> None:
        self._store = store
        self._drivers = drivers
        self._repository = repository
        self._connectivity = connectivity
        self._owner = owner
        self._temporal = temporal
        self._settings = settings

    @step(policies.OBSERVE, lambda i: "dry run" if i.dry_run else "whole fleet")
    async def observe_fleet(self, input: ReconcileFleetInput) -> FleetObserved:
        """Return what a reconcile run would do now.

        Unless it is a dry run, this saves the results of the connectivity checks, the machines
        that are missing at their providers, and the state of the breaker.
        """
        outside = await self._observe_outside()
        observation = await in_thread(self._read_store, outside, input)
        now = datetime.now(UTC)
        operation = None if input.dry_run else current_operation(input.origin)
        breaker = await in_thread(self._update_breaker, observation, input, now, operation)
        plan = plan_reconcile(replace(observation.view, breaker=breaker), input.policy, now)
        plan = await self._without_unknown_releases(plan, observation.view.routes, input)
        keys = {action.sweep.key for action in plan.actions if action.sweep}
        return FleetObserved(
            at=now,
            plan=plan,
            breaker=breaker,
            locks={key: observation.locks[key] for key in sorted(keys & observation.locks.keys())},
            unobserved=outside.unobserved,
        )

    @step(policies.OBSERVE, lambda _: "whole fleet")
    async def evaluate_breaker(self, input: EvaluateBreakerInput) -> BreakerEvaluated:
        """Run the connectivity checks, and save them and the breaker's state that follows.

        What waits for the breaker calls this, so that it also ends where no schedule reconciles.
        Providers are not observed: that is a reconcile run's.
        """
        outside = _Outside(
            listings=(),
            unobserved=(),
            open_workflows=await self._open_workflows(),
            connectivity=await run_all(self._connectivity),
        )
        policy, limits = self._settings
        fleet = ReconcileFleetInput(origin=input.origin, policy=policy, limits=limits)
        observation = await asyncio.to_thread(self._read_store, outside, fleet)
        now, operation = datetime.now(UTC), current_operation(input.origin)
        breaker = await asyncio.to_thread(self._update_breaker, observation, fleet, now, operation)
        plan = plan_reconcile(replace(observation.view, breaker=breaker), policy, now)
        return BreakerEvaluated(to_verify=routes_to_verify(plan.actions)[:MAX_VERIFIED])

    # ------------------------------------------------------------------ outside of the store

    async def _observe_outside(self) -> _Outside:
        connectivity, answers = await asyncio.gather(
            run_all(self._connectivity),
            asyncio.gather(*(self._list_machines(name) for name in sorted(self._drivers))),
        )
        listings = tuple(each for each in answers if isinstance(each, ProviderListing))
        return _Outside(
            listings=listings,
            unobserved=(
                *(each for each in answers if isinstance(each, str)),
                *(
                    f"{each.provider}: the listing is incomplete"
                    for each in listings
                    if not each.complete
                ),
            ),
            open_workflows=await self._open_workflows(),
            connectivity=connectivity,
        )

    async def _list_machines(self, provider: str) -> ProviderListing | str:
        """Return the machines at a provider, or why it gave no listing."""
        try:
            async with asyncio.timeout(LISTING_TIMEOUT.total_seconds()):
                return await self._drivers[provider].list()
        except DomainError as error:
            return str(error)
        except TimeoutError:
            return f"{provider}: no listing within {LISTING_TIMEOUT.total_seconds():.0f} s"

    async def _open_workflows(self) -> frozenset[str]:
        found = self._temporal.list_workflows(OPEN_OPERATIONS)
        return frozenset([execution.id async for execution in found])

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

    # ------------------------------------------------------------------ the store

    def _read_store(self, outside: _Outside, input: ReconcileFleetInput) -> _Observation:
        """Read the records, after everything outside was read."""
        store, now = self._store, datetime.now(UTC)
        routes = [each for each in store.routes.list() if each.status is not RouteStatus.RETIRED]
        busy = self._busy(routes, outside.open_workflows)
        histories = dict(store.remediations.histories(now - input.policy.replacement.window))
        gone = _gone(routes, outside.listings, histories, busy, now)
        for route_id, since in gone.items():
            known = histories.get(route_id) or RouteHistory(route_id=route_id, machine_key=None)
            histories[route_id] = known.model_copy(update={"gone_since": since})
        sweep, locks = self._plan_sweep(outside, input, now)
        default = store.fleet_settings.get(DEFAULT_RELEASE_SETTING)
        view = FleetView(
            routes=routes,
            declarations=Declarations(
                tracks=store.tracks.list(),
                fleet_default=default,
                rollouts=store.declarations.rollouts(),
                declared_at=store.declarations.times(),
            ),
            breaker=Breaker(),  # Replaced later: its state depends on what is read here.
            limits=input.limits,
            histories=histories,
            busy=busy,
            exclusions=store.exclusions.standing(now),
            freezes=store.freezes.standing(now),
            destructions=store.destructions.list(now - max(HOUR, input.limits.remembered_for)),
            pools=self._pools(default),
            sweep=sweep,
        )
        saved = {each.name: each for each in store.breaker.connectivity()}
        latest = saved | {each.name: each for each in outside.connectivity}
        return _Observation(view, tuple(latest[name] for name in sorted(latest)), gone, locks)

    def _busy(self, routes: Sequence[Route], open_workflows: Set[str]) -> frozenset[RouteId]:
        """Return the routes with a running operation, according to Temporal or the store."""
        running = {
            route.route_id
            for route in routes
            if route_workflow_id(route.route_id) in open_workflows
        }
        return self._store.verifications.routes_in_operation() | running

    def _plan_sweep(
        self, outside: _Outside, input: ReconcileFleetInput, now: datetime
    ) -> tuple[SweepPlan, Mapping[str, str]]:
        machines = [machine for listing in outside.listings for machine in listing.machines]
        records = self._store.sweeps.machines({machine.key for machine in machines})
        view = SweepView(
            listings=outside.listings,
            open_workflows=outside.open_workflows,
            records=records,
            operations=self._store.sweeps.open_operations(),
            route_ids=self._store.sweeps.route_ids(),
        )
        plan = plan_sweep(view, SweepPolicy(owner=self._owner, grace=input.grace), now)
        locks = {each.key: lock_of(each.key, each.provider, each.region) for each in machines}
        locks |= {each.key: lock_of_record(each) for each in records}
        return plan, {key: lock for key, lock in locks.items() if lock is not None}

    def _pools(
        self, release_tag: ReleaseTag | None
    ) -> tuple[tuple[PoolTarget, Sequence[PoolMachine]], ...]:
        sizes, machines = self._store.pool_sizes.list(), self._store.pool.list()
        return tuple(
            (
                PoolTarget(
                    provider=each.provider,
                    region=each.region,
                    size=each.size,
                    release_tag=release_tag,
                ),
                [
                    machine
                    for machine in machines
                    if (machine.provider, machine.region) == (each.provider, each.region)
                ],
            )
            for each in sizes
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
        machines = [*observations_of(view), *map(_observation_of, store.pool.list())]
        reach = count_reach(machines, view.destructions, input.limits, now)
        overrides = store.breaker_overrides.standing(now)

        def decide(before: Breaker) -> Breaker:
            return update_breaker(
                before, reach, observation.connectivity, input.limits, now, overrides
            )

        if operation is None:
            return decide(store.breaker.get())
        for route_id, since in observation.gone.items():
            store.remediations.record_gone_since(route_id, since)
        store.breaker.record_connectivity(observation.connectivity)
        return store.breaker.update(decide, operation)


def _gone(
    routes: Sequence[Route],
    listings: Sequence[ProviderListing],
    histories: Mapping[RouteId, RouteHistory],
    busy: Set[RouteId],
    now: datetime,
) -> Mapping[RouteId, datetime | None]:
    """Return changes: since when a route's machine is missing, or None where it is back."""
    changes: dict[RouteId, datetime | None] = {}
    complete = {each.provider: each for each in listings if each.complete}
    keys = {machine.key for listing in complete.values() for machine in listing.machines}
    for route in routes:
        listing = complete.get(route.provider)
        if listing is None or route.machine is None or route.route_id in busy:
            continue
        history = histories.get(route.route_id)
        since = history.gone_since if history else None
        if route.machine.key in keys:
            if since is not None:
                changes[route.route_id] = None
        elif route.proven_at is None or route.proven_at < listing.asked_at:
            # A proof after `since` shows that the machine was there again in between.
            outdated = (
                since is not None and route.proven_at is not None and route.proven_at >= since
            )
            if since is None or outdated:
                changes[route.route_id] = now
    return changes


def _observation_of(machine: PoolMachine) -> MachineObservation:
    return MachineObservation(
        key=machine.key,
        provider=machine.provider,
        region=machine.region,
        observed_at=machine.proven_at,
        reached=machine.proven_at is not None,
    )
