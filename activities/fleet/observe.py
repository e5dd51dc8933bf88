"""The fleet as it stands, in one look: what a pass of reconciliation is planned by.

The order of reading is the sweep's (`relight/domain/sweep/planner.py`): first the providers' listings, then the
open workflows, then the records.
"""

import asyncio
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from temporalio.client import Client

from activities import policies
from activities.fleet.connectivity import ConnectivityCheck, check_all
from activities.operation import current_operation
from relight.domain.breaker.breaker import (
    Breaker,
    ConnectivityResult,
    MachineObservation,
)
from relight.domain.breaker.decisions import (
    HOUR,
    count_reach,
    turn,
)
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
from relight.domain.reconcile.plan import ReconcilePlan, leave_unknown, releases_brought
from relight.domain.reconcile.planner import plan_reconcile
from relight.domain.reconcile.run import FleetObserved, ReconcileFleetInput
from relight.domain.remediation import RouteHistory
from relight.domain.route import Route
from relight.domain.sweep.planner import (
    SweepView,
    lock_of,
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
from relight.store.store import Store
from relight.store.write import Operation

ASK_WITHIN = timedelta(seconds=60)
"""How long a provider's listing may take; without it, its machines are left out of the sweep."""

OPEN_OPERATIONS = (
    "ExecutionStatus = 'Running' AND (WorkflowId STARTS_WITH 'route/' "
    "OR WorkflowId STARTS_WITH 'pool/' OR WorkflowId STARTS_WITH 'rollout/')"
)


@dataclass(frozen=True)
class _Listed:
    """What was seen outside of the store.

    Attributes:
        listings: of the providers that answered.
        unasked: what was not seen, each with the reason.
        open_workflows: the ids of what is under way.
        witnesses: a look at each.
    """

    listings: tuple[ProviderListing, ...]
    unasked: tuple[str, ...]
    open_workflows: frozenset[str]
    connectivity: tuple[ConnectivityResult, ...]


@dataclass(frozen=True)
class _Seen:
    """What is on record beside that, and what follows for a sweep.

    Attributes:
        gone: since when the providers do not have the machines of routes; None where they have
            one again that was believed gone. Routes about which nothing changed are not there.
        locks: the id under which each machine is worked on, by its key.
    """

    view: FleetView
    connectivity: tuple[ConnectivityResult, ...]
    gone: Mapping[RouteId, datetime | None]
    locks: Mapping[str, str]


class ObservationActivities:
    """Looks at everything, and decides by `planning`. The dry run is the same look."""

    def __init__(
        self,
        store: Store,
        drivers: Mapping[str, ProviderDriver],
        repository: ReleaseSource,
        connectivity: Sequence[ConnectivityCheck],
        owner: str,
        temporal: Client,
    ) -> None:
        self._store = store
        self._drivers = drivers
        self._repository = repository
        self._connectivity = connectivity
        self._owner = owner
        self._temporal = temporal

    @step(policies.OBSERVE, lambda i: "a dry run" if i.dry_run else "the whole fleet")
    async def observe_fleet(self, input: ReconcileFleetInput) -> FleetObserved:
        """Return what a pass would do now.

        What was seen of witnesses, of machines that are gone, and of the breaker is kept, but not
        by a dry run.
        """
        listed = await self._list()
        seen = await asyncio.to_thread(self._read, listed, input)
        now = datetime.now(UTC)
        breaker = await asyncio.to_thread(
            self._turn, seen, input, now, None if input.dry_run else current_operation(input.origin)
        )
        plan = plan_reconcile(replace(seen.view, breaker=breaker), input.policy, now)
        plan = await self._without_unknown(plan, seen.view.routes, input)
        keys = {action.sweep.key for action in plan.actions if action.sweep}
        return FleetObserved(
            at=now,
            plan=plan,
            breaker=breaker,
            locks={key: seen.locks[key] for key in sorted(keys & seen.locks.keys())},
            unasked=listed.unasked,
        )

    # ------------------------------------------------------------------ outside of the store

    async def _list(self) -> _Listed:
        looks, answers = await asyncio.gather(
            check_all(self._connectivity),
            asyncio.gather(*(self._ask(name) for name in sorted(self._drivers))),
        )
        listings = tuple(each for each in answers if isinstance(each, ProviderListing))
        return _Listed(
            listings=listings,
            unasked=(
                *(each for each in answers if isinstance(each, str)),
                *(f"{each.provider}: not all came" for each in listings if not each.complete),
            ),
            open_workflows=await self._open_workflows(),
            connectivity=looks,
        )

    async def _ask(self, provider: str) -> ProviderListing | str:
        """Return a provider's machines, or why it did not say."""
        try:
            async with asyncio.timeout(ASK_WITHIN.total_seconds()):
                return await self._drivers[provider].list()
        except DomainError as error:
            return str(error)
        except TimeoutError:
            return f"{provider}: no listing within {ASK_WITHIN.total_seconds():.0f} s"

    async def _open_workflows(self) -> frozenset[str]:
        found = self._temporal.list_workflows(OPEN_OPERATIONS)
        return frozenset([execution.id async for execution in found])

    async def _without_unknown(
        self, plan: ReconcilePlan, routes: Sequence[Route], input: ReconcileFleetInput
    ) -> ReconcilePlan:
        """Leave out what brings a release that the source does not have, or cannot say."""
        architectures = sorted({each.architecture for each in routes if each.architecture})
        why_not: dict[ReleaseTag, str] = {}
        for tag in sorted(releases_brought(plan)):
            try:
                await self._repository.resolve(tag, architectures)
            except DomainError as error:
                why_not[tag] = str(error)
        return leave_unknown(plan, why_not, input.policy.max_reported)

    # ------------------------------------------------------------------ the store

    def _read(self, listed: _Listed, input: ReconcileFleetInput) -> _Seen:
        """Read the records, after all else was read."""
        store, now = self._store, datetime.now(UTC)
        routes = store.routes.list()
        busy = self._busy(routes, listed.open_workflows)
        histories = dict(store.remediations.histories(now - input.policy.replacement.window))
        gone = _gone(routes, listed.listings, histories, busy, now)
        for route_id, since in gone.items():
            known = histories.get(route_id) or RouteHistory(route_id=route_id, machine_key=None)
            histories[route_id] = known.model_copy(update={"gone_since": since})
        sweep, locks = self._sweep(listed, input, now)
        default = store.settings.get(DEFAULT_RELEASE_SETTING)
        view = FleetView(
            routes=routes,
            declarations=Declarations(
                tracks=store.tracks.list(),
                fleet_default=default,
                rollouts=store.rollouts.list(),
                declared_at=store.declared.at(),
            ),
            breaker=Breaker(),  # It is turned by what is read here.
            limits=input.limits,
            histories=histories,
            busy=busy,
            exclusions=store.exclusions.list(),
            freezes=store.freezes.list(),
            destructions=store.destructions.list(now - max(HOUR, input.limits.remembered_for)),
            pools=self._pools(default),
            sweep=sweep,
        )
        kept = {each.name: each for each in store.breaker.connectivity()}
        latest = kept | {each.name: each for each in listed.connectivity}
        return _Seen(view, tuple(latest[name] for name in sorted(latest)), gone, locks)

    def _busy(self, routes: Sequence[Route], open_workflows: Set[str]) -> frozenset[RouteId]:
        """Return the routes on which an operation is under way, by the engine or on record."""
        running = {
            route.route_id
            for route in routes
            if route_workflow_id(route.route_id) in open_workflows
        }
        return self._store.verifications.under_way() | running

    def _sweep(
        self, listed: _Listed, input: ReconcileFleetInput, now: datetime
    ) -> tuple[SweepPlan, Mapping[str, str]]:
        records = self._store.sweeping.on_record()
        view = SweepView(
            listings=listed.listings,
            open_workflows=listed.open_workflows,
            records=records,
            operations=self._store.sweeping.operations(),
            route_ids=self._store.sweeping.route_ids(),
        )
        plan = plan_sweep(view, SweepPolicy(owner=self._owner, grace=input.grace), now)
        machines = [machine for listing in listed.listings for machine in listing.machines]
        locks = {each.key: lock_of(each.key, each.provider, each.region) for each in machines}
        locks |= {
            each.key: lock_of(each.key, each.provider, each.region, each.route_id)
            for each in records
        }
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

    def _turn(
        self, seen: _Seen, input: ReconcileFleetInput, now: datetime, operation: Operation | None
    ) -> Breaker:
        """Return where the breaker stands after this look; keep that unless there is no operation.

        What was seen of machines that are gone is kept with it.
        """
        store, view = self._store, seen.view
        looks = [*observations_of(view), *(_look_at(each) for each in store.pool.list())]
        reach = count_reach(looks, view.destructions, input.limits, now)
        overrides = store.overrides.list()

        def decide(before: Breaker) -> Breaker:
            return turn(before, reach, seen.connectivity, input.limits, now, overrides)

        if operation is None:
            return decide(store.breaker.get())
        for route_id, since in seen.gone.items():
            store.remediations.gone_since(route_id, since)
        store.breaker.record_connectivity(seen.connectivity)
        return store.breaker.turn(decide, operation)


def _gone(
    routes: Sequence[Route],
    listings: Sequence[ProviderListing],
    histories: Mapping[RouteId, RouteHistory],
    busy: Set[RouteId],
    now: datetime,
) -> Mapping[RouteId, datetime | None]:
    """Return since when routes' machines are gone, or that they are not, where that is news."""
    news: dict[RouteId, datetime | None] = {}
    whole = {each.provider: each for each in listings if each.complete}
    keys = {machine.key for listing in whole.values() for machine in listing.machines}
    for route in routes:
        listing = whole.get(route.provider)
        if listing is None or route.machine is None or route.route_id in busy:
            continue
        history = histories.get(route.route_id)
        since = history.gone_since if history else None
        if route.machine.key in keys:
            if since is not None:
                news[route.route_id] = None
        elif route.proven_at is None or route.proven_at < listing.asked_at:
            # What was proven since is there, whatever was said before.
            over = since is not None and route.proven_at is not None and route.proven_at >= since
            if since is None or over:
                news[route.route_id] = now
    return news


def _look_at(machine: PoolMachine) -> MachineObservation:
    return MachineObservation(
        key=machine.key,
        provider=machine.provider,
        region=machine.region,
        observed_at=machine.proven_at,
        reached=machine.proven_at is not None,
    )
