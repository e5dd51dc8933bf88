"""Comparison of the record with providers and hosts, and its correction. Nothing else changes."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from temporalio import activity

from activities import policies
from activities.execution import current_operation
from activities.fleet.compared import (
    ObservedMachine,
    compared_with_host,
    not_found,
    not_in_service,
    unknown_pool_machine,
    unknown_route,
)
from activities.machine.listing import list_machines
from activities.machine.presence import Presence
from activities.machine.record_plan import plan_of_records
from activities.pinned_releases import PinnedReleases
from activities.route.hot_swap import ProofActivities
from activities.route.known_good import version_of
from relight.domain.comparison import (
    Compared,
    CompareRecordsInput,
    CompareRoutesInput,
    CompareScopesInput,
    Comparison,
    ProvidersCompared,
    RouteToCompare,
    Verdict,
)
from relight.domain.disruption import NOT_IN_SERVICE
from relight.domain.drift import scope_of
from relight.domain.fault.error import DomainError
from relight.domain.machine import Machine, MachineAtProvider, MachineOnRecord, MachineStatus
from relight.domain.names import DEFAULT_RELEASE_SETTING, ReleaseTag, scope_track
from relight.domain.proof import Proof
from relight.domain.release import Release
from relight.domain.route import Route, RouteStatus
from relight.domain.sweep.planner import numbered
from relight.domain.sweep.sweep import ProviderListing, SweepPolicy, SweepStep
from relight.engine.step import step
from relight.hosts import host_program
from relight.hosts.connections import Hosts
from relight.hosts.errors import RemoteError
from relight.hosts.observation import observe
from relight.releases.versions import is_older, is_version, tag_of
from relight.store.adoptions import new_route
from relight.store.events import Operation
from relight.store.store import Store
from relight.store.threads import in_thread

CONCURRENCY = 25
"""How many hosts one activity observes at the same time."""

_NOT_RUNNING = frozenset({MachineStatus.DELETING, MachineStatus.FAILED})


MAX_NEWER, MAX_ROUTES_WITH_NEWER, MAX_OTHERS = 2, 300, 500
"""So many machines of a route that are newer than its record, routes with such machines, and
machines of no route are in one message, which has to stay below 2 MB with 10,000 routes."""


class ComparisonActivities:
    """Reads, and with `adopt` writes what was proven into the store."""

    def __init__(
        self,
        store: Store,
        presence: Presence,
        hosts: Hosts,
        proofs: ProofActivities,
        repository: PinnedReleases,
        owner: str,
    ) -> None:
        self._store = store
        self._presence = presence
        self._hosts = hosts
        self._proofs = proofs
        self._repository = repository
        self._owner = owner

    @step(policies.OBSERVE, lambda _: "all providers")
    async def compare_providers(self, input: CompareRecordsInput) -> ProvidersCompared:
        """Return all routes with their newer machines, and the machines that belong to none."""
        answers = await asyncio.gather(*map(self._list, sorted(self._presence.drivers)))
        listings = [each for each in answers if isinstance(each, ProviderListing)]
        unobserved = tuple(each for each in answers if isinstance(each, str))
        return await in_thread(self._compare_listings, listings, unobserved, input)

    @step(policies.VERIFY, lambda i: f"{len(i.routes)} routes", lasting=True)
    async def compare_routes(self, input: CompareRoutesInput) -> Compared:
        """Return the comparison of each route with its host."""
        operation, slots = current_operation(input.origin), asyncio.Semaphore(CONCURRENCY)

        async def compare(each: RouteToCompare) -> Comparison:
            async with slots:
                of_route = replace(
                    operation, activity_id=f"{operation.activity_id}/{each.route_id}"
                )
                compared = await self._compare(each, of_route, input)
                activity.heartbeat(each.route_id)
                return compared

        return Compared(comparisons=tuple(await asyncio.gather(*map(compare, input.routes))))

    @step(policies.STORE, lambda _: "all scopes", lasting=True)
    def compare_scopes(self, input: CompareScopesInput) -> Compared:
        """Return the scopes whose routes are all proven at a newer release than is declared.

        With `adopt` that release is declared. Otherwise reconciliation would bring the routes back.
        A scope with an open rollout is left out: the rollout declares its own release.
        """
        operation = current_operation(input.origin)
        default = self._store.fleet_settings.get(DEFAULT_RELEASE_SETTING)
        overrides = {each.name: each.release_override for each in self._store.tracks.list()}
        rolling = {
            each.scope for each in self._store.declarations.rollouts() if each.closed_at is None
        }
        proven: defaultdict[str, set[ReleaseTag | None]] = defaultdict(set)
        for route in self._store.routes.list():
            if route.status not in NOT_IN_SERVICE:
                scope = scope_of(route.track, overrides.get(route.track))
                proven[scope].add(route.current_release_tag)
        found = []
        for scope, tags in sorted(proven.items()):
            if scope in rolling:
                continue
            track = scope_track(scope)
            declared = overrides.get(track) if track else default
            [tag, *others] = tags
            if others or tag is None or not self._is_newer(tag, declared, or_older=input.older):
                continue
            if input.adopt:
                of_scope = replace(operation, activity_id=f"{operation.activity_id}/{scope}")
                self._store.adoptions.declare(scope, tag, of_scope)
            found.append(
                Comparison(
                    about=f"scope {scope}",
                    verdict=Verdict.ADOPTED if input.adopt else Verdict.RECORD_BEHIND,
                    recorded=declared or "",
                    found=tag,
                    reason=f"all of its routes are proven at {tag}",
                )
            )
        return Compared(comparisons=tuple(found))

    def _is_newer(self, tag: ReleaseTag, declared: ReleaseTag | None, *, or_older: bool) -> bool:
        if declared is None or or_older:
            return tag != declared
        return is_older(version_of(self._store, declared), version_of(self._store, tag))

    # ------------------------------------------------------------------ providers

    async def _list(self, provider: str) -> ProviderListing | str:
        try:
            listing = await list_machines(self._presence.drivers[provider])
        except DomainError as error:
            return str(error)
        return listing if listing.complete else f"{provider}: the listing is incomplete"

    def _compare_listings(
        self,
        listings: Sequence[ProviderListing],
        unobserved: tuple[str, ...],
        input: CompareRecordsInput,
    ) -> ProvidersCompared:
        machines = {each.key: each for listing in listings for each in listing.machines}
        records = self._store.sweeps.machines(set(machines))
        newer, others = self._newer(listings, records, machines)
        serves = {route: machines[key] for route, key in input.serves.items() if key in machines}
        named = {f"machine {key}" for key in input.serves.values()}
        others = [each for each in others if each.about not in named]
        in_service = {
            route.route_id: route
            for route in self._store.routes.list()
            if route.status is not RouteStatus.RETIRED
        }
        others += [
            not_found(route_id, key) if route_id not in serves else not_in_service(route_id)
            for route_id, key in sorted(input.serves.items())
            if route_id not in serves or route_id not in in_service
        ]
        providers = {each.provider for each in listings}
        routes = [
            RouteToCompare(
                route_id=route.route_id,
                newer=tuple(newer.pop(route.route_id, ())[:MAX_NEWER]),
                serves=serves.get(route.route_id),
                listed=(
                    route.machine.key in machines
                    if route.machine is not None and route.provider in providers
                    else None
                ),
            )
            for route in in_service.values()
        ]
        for route_id, found in sorted(newer.items()):
            if input.track is not None:
                routes.append(
                    RouteToCompare(
                        route_id=route_id, newer=tuple(found[:MAX_NEWER]), track=input.track
                    )
                )
            else:
                others += [unknown_route(each, route_id) for each in found]
        return bounded(routes, others, unobserved)

    def _newer(
        self,
        listings: Sequence[ProviderListing],
        records: Sequence[MachineOnRecord],
        machines: dict[str, MachineAtProvider],
    ) -> tuple[dict[str, list[MachineAtProvider]], list[Comparison]]:
        """Return the machines that are newer than the record, by route; and those of pools."""
        plan = plan_of_records(self._store, listings, records, SweepPolicy(owner=self._owner))
        newer: defaultdict[str, list[MachineAtProvider]] = defaultdict(list)
        others = []
        for doubted in plan.left:
            if doubted.step is not SweepStep.DOUBT:
                continue
            stem = numbered(doubted.key)[0]
            if stem.endswith("-g"):
                newer[stem.removesuffix("-g")].append(machines[doubted.key])
            else:
                others.append(unknown_pool_machine(machines[doubted.key]))
        for found in newer.values():
            found.sort(key=lambda machine: numbered(machine.key)[1], reverse=True)
        return newer, others

    # ------------------------------------------------------------------ hosts

    async def _compare(
        self, each: RouteToCompare, operation: Operation, input: CompareRoutesInput
    ) -> Comparison:
        route = await in_thread(self._store.routes.get, each.route_id)
        if route is None:
            if each.track is None or not each.newer:
                return Comparison(about=f"route {each.route_id}", verdict=Verdict.UNKNOWN)
            route = new_route(each.route_id, each.track, each.newer[0])
        observed: list[ObservedMachine] = []
        candidates = [m for m in each.newer if m.status not in _NOT_RUNNING]
        candidates = [each.serves] if each.serves else candidates
        for machine in (*candidates, *([route.machine] if route.machine else [])):
            observed.append(await self._observe(machine))
            if observed[-1].package is not None:
                break
        recorded = await in_thread(self._recorded_version, route)
        compared = compared_with_host(route, each, observed, recorded)
        taken = {Verdict.RECORD_BEHIND, *({Verdict.HOST_BEHIND} if input.older else ())}
        if not input.adopt or compared.verdict not in taken:
            return compared
        try:
            return await self._adopt(route, observed[-1], compared, operation)
        except DomainError as error:
            return compared.model_copy(update={"reason": f"it cannot be adopted: {error}"})

    async def _observe(self, machine: MachineAtProvider | Machine) -> ObservedMachine:
        try:
            async with self._hosts.connect(machine) as shell:
                observation = await observe(shell, host_program.observe())
        except RemoteError as error:
            return ObservedMachine(machine, None, str(error))
        return ObservedMachine(machine, observation.package)

    def _recorded_version(self, route: Route) -> str | None:
        tag = route.current_release_tag
        return None if tag is None else version_of(self._store, tag)

    async def _adopt(
        self,
        route: Route,
        observed: ObservedMachine,
        compared: Comparison,
        operation: Operation,
    ) -> Comparison:
        """Prove what a machine runs, and take it into the record; or say why not.

        Raises:
            DomainError: it cannot be proven.
        """
        if observed.package is None:
            return compared
        proof = await self._prove(observed.machine, observed.package.version)
        found = await self._presence.driver(observed.machine.provider).find(observed.machine.key)
        if found is None:
            reason = f"{observed.machine.provider} does not find {observed.machine.key}"
            return compared.model_copy(update={"reason": reason})
        old = route.machine if route.machine and route.machine.key != found.key else None
        absent = old is not None and await self._presence.is_absent(old)
        is_new = await in_thread(self._store.routes.get, route.route_id) is None

        def adopt() -> str | None:
            return self._store.adoptions.adopt(
                route, found, proof, operation, is_new=is_new, old_is_absent=absent
            )

        refusal = await in_thread(adopt)
        if refusal is not None:
            return compared.model_copy(update={"reason": refusal})
        taken = f"{proof.release_tag} is proven there: {proof.probe}"
        return compared.model_copy(update={"verdict": Verdict.ADOPTED, "reason": taken})

    async def _prove(self, machine: MachineAtProvider | Machine, version: str) -> Proof:
        release = await self._release_of(version)
        async with self._hosts.connect(machine) as shell:
            return await self._proofs.prove(shell, release, any_configuration=True)

    async def _release_of(self, version: str) -> Release:
        """Return the release of a version: as the source knows it, else as the host runs it.

        Raises:
            UnknownVersionError: it is no version.
        """
        if not is_version(version):
            raise UnknownVersionError(f"it runs {version!r}, which is no Debian version")
        tag = tag_of(version)
        found = await self._release_or_none(tag)
        if found is not None and found.version != version:
            # The tag means another revision in this fleet.
            tag = version
            found = await self._release_or_none(tag)
        package = self._proofs.service.package
        return found or Release(
            tag=tag, version=version, package=package, source="host", deb_files=()
        )

    async def _release_or_none(self, tag: ReleaseTag) -> Release | None:
        known = await in_thread(self._store.releases.get, tag)
        if known is not None:
            return known
        try:
            release = await self._repository.resolve(tag, ())
        except DomainError:
            return None
        await in_thread(self._store.releases.save, release)
        return release


class UnknownVersionError(DomainError):
    """A host runs what is no version."""

    kind = "release-unknown"


def bounded(
    routes: Sequence[RouteToCompare], others: Sequence[Comparison], unobserved: Sequence[str]
) -> ProvidersCompared:
    """Return what fits into a message; of the rest, how much there is."""
    newer = [each.route_id for each in routes if each.newer]
    left_out = set(newer[MAX_ROUTES_WITH_NEWER:])
    cut = len(left_out) + max(0, len(others) - MAX_OTHERS)
    more = f"{cut} more, which are not on record: the same command again, once these are adopted"
    return ProvidersCompared(
        routes=tuple(each for each in routes if each.route_id not in left_out),
        others=tuple(others[:MAX_OTHERS]),
        unobserved=(*unobserved, *([more] if cut else ())),
    )
