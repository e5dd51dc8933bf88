"""Verification of many routes in one activity: read-only, without a workflow for each."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import structlog
from temporalio import activity
from temporalio.client import Client

from activities import policies
from activities.execution import current_operation, fault_of
from activities.pinned_releases import PinnedReleases
from activities.route.hot_swap import ProofActivities
from activities.route.known_good import version_of
from relight.breaker_evaluation import BreakerEvaluation
from relight.domain import names
from relight.domain.fault.error import DomainError
from relight.domain.fault.fault import Fault
from relight.domain.names import RouteId, route_workflow_id
from relight.domain.proof import NewerRelease, Proof
from relight.domain.reconcile.run import (
    RoutesVerified,
    RouteToVerify,
    RouteVerified,
    VerifyRoutesInput,
)
from relight.domain.release import Release
from relight.domain.route import Route
from relight.domain.route_history import means_unreachable
from relight.engine.executions import is_running
from relight.engine.step import step
from relight.hosts.connections import Hosts
from relight.hosts.errors import HostSettingsDifferError, PackageError
from relight.hosts.host_settings import HostSettings, differs
from relight.hosts.key_files import Keys
from relight.releases.versions import is_older
from relight.store.events import Operation
from relight.store.store import Store
from relight.store.threads import in_thread
from relight.store.verifications import CHANGED_MEANWHILE, RouteBegun, RouteProven

CONCURRENCY = 25
"""How many hosts one activity verifies at the same time. Each takes a login and one command."""

MAX_REASON_CHARACTERS = 500

ATTEMPTS = 3
PAUSE = timedelta(seconds=2)
"""A broken connection is retried before it counts as a fault of the host."""

MOMENT = timedelta(milliseconds=200)
"""How long a proof waits for others. A transaction costs more than what it records of a route."""

log: structlog.stdlib.BoundLogger = structlog.get_logger("relight.verification")


class VerificationActivities:
    """Proves what hosts run, and records it unless the route has changed meanwhile."""

    def __init__(  # noqa: PLR0913 - the parts of a worker that it needs
        self,
        store: Store,
        hosts: Hosts,
        services: ProofActivities,
        repository: PinnedReleases,
        temporal: Client,
        breaker: BreakerEvaluation,
        *,
        settings: HostSettings | None = None,
        keys: Keys | None = None,
    ) -> None:
        self._store = store
        self._hosts = hosts
        self._services = services
        self._repository = repository
        self._temporal = temporal
        self._breaker = breaker
        self._settings = settings
        self._keys = keys

    @step(policies.VERIFY, lambda i: f"{len(i.routes)} routes")
    async def verify_routes(self, input: VerifyRoutesInput) -> RoutesVerified:
        """Observe the host of each route, and record a proof or a fault for it.

        A route with a running operation, or that changed meanwhile, is skipped. An unexpected error
        is retried, as of any activity; in the last attempt it is the result of its route alone. If
        several proofs are written together, an error of that write is the result of each route.
        """
        operation, slots = current_operation(input.origin), asyncio.Semaphore(CONCURRENCY)
        proofs = _Proofs(self._store) if len(input.routes) > 1 else None
        releases: dict[str, Release | Fault] = {}
        for tag in sorted({each.release_tag for each in input.routes}):
            releases[tag] = await self._release(tag)
            activity.heartbeat(tag)

        async def verify(each: RouteToVerify) -> RouteVerified:
            async with slots:
                release = releases[each.release_tag]
                route = begun.get(each.route_id)
                verified = await self._verify(each, route, release, operation, proofs)
                if verified.skipped == CHANGED_MEANWHILE:  # As by another verification.
                    again = await in_thread(self._store.verifications.begin, [each.route_id])
                    route = again.get(each.route_id)
                    verified = await self._verify(each, route, release, operation)
                activity.heartbeat(each.route_id)
                return verified

        routes = [each.route_id for each in input.routes]
        begun = await in_thread(self._store.verifications.begin, routes)
        # Each verification ends, whatever happens to the others.
        ended = await asyncio.gather(*map(verify, input.routes), return_exceptions=True)
        faults = [each.fault for each in ended if isinstance(each, RouteVerified) and each.fault]
        if any(map(means_unreachable, faults)):
            await in_thread(self._breaker.after_fault, operation)
        errors = [each for each in ended if isinstance(each, BaseException)]
        if errors and activity.info().attempt < policies.VERIFY_ATTEMPTS:
            raise errors[0]
        return RoutesVerified(
            routes=tuple(
                _failed(route, result) if isinstance(result, BaseException) else result
                for route, result in zip(input.routes, ended, strict=True)
            )
        )

    async def _release(self, tag: str) -> Release | Fault:
        """Return the release of a tag, preferably from the store; or why it cannot be resolved."""
        known = await in_thread(self._store.releases.get, tag)
        if known is not None:
            return known
        try:
            return await self._repository.resolve(tag, ())
        except DomainError as error:
            return fault_of(error)

    async def _verify(
        self,
        expected: RouteToVerify,
        begun: RouteBegun | None,
        release: Release | Fault,
        operation: Operation,
        proofs: "_Proofs | None" = None,
    ) -> RouteVerified:
        route_id = expected.route_id
        if isinstance(release, Fault):
            return RouteVerified(route_id=route_id, skipped=release.summary)
        if begun is None:
            await in_thread(self._store.routes.get, route_id)  # Raises if its record is invalid.
        if begun is None or begun.route.machine is None:
            return RouteVerified(route_id=route_id, skipped="it has no machine")
        if begun.in_operation:
            return RouteVerified(route_id=route_id, skipped="an operation is running on it")
        result = await self._prove(begun.route, release)
        if isinstance(result, RouteVerified):
            return result
        # A proof is true whoever works on the route. Something else may be the work of an operation
        # that the store does not know, as one that was restored from an older copy.
        if not isinstance(result, Proof) and await self._has_operation(route_id):
            return RouteVerified(route_id=route_id, skipped="an operation has started on it")
        return await self._record(begun.route, release, result, operation, proofs)

    async def verify_now(self, route: Route, tag: str, operation: Operation) -> RouteVerified:
        """Observe the host of one route, by the operation that has its lock, and record the result.

        Args:
            route: as on record; it has a machine.
            tag: the release that it should run.
            operation: the operation.
        """
        release = await self._release(tag)
        if isinstance(release, Fault):
            return RouteVerified(route_id=route.route_id, skipped=release.summary)
        result = await self._prove(route, release)
        if isinstance(result, RouteVerified):
            return result
        return await self._record(route, release, result, operation)

    async def _record(
        self,
        route: Route,
        release: Release,
        result: Proof | Fault | NewerRelease,
        operation: Operation,
        proofs: "_Proofs | None" = None,
    ) -> RouteVerified:
        route_id = route.route_id
        operation = replace(operation, activity_id=f"{operation.activity_id}/{route_id}")
        drift = self._drift(route, result) if isinstance(result, Proof) else None
        if (
            proofs is not None
            and isinstance(result, Proof)
            and await proofs.record(RouteProven(route, result, operation, drift))
        ):
            return RouteVerified(route_id=route_id)
        skipped = await in_thread(
            self._store.verifications.record, route, release.tag, result, operation, drift
        )
        if skipped is not None or isinstance(result, Proof):
            return RouteVerified(route_id=route_id, skipped=skipped)
        if isinstance(result, NewerRelease):
            return RouteVerified(route_id=route_id, newer_version=result.version)
        _log_fault(route, result)
        return RouteVerified(route_id=route_id, fault=result.kind)

    def _drift(self, route: Route, proof: Proof) -> Fault | None:
        """Return that a proven host has other settings; None if it has not."""
        if self._settings is None or self._keys is None:
            return None
        machine = route.machine
        assert machine is not None
        present = [each.host_key(machine.key) for each in self._keys().secrets]
        if not differs(self._settings, proof.settings_sha256, present):
            return None
        return fault_of(HostSettingsDifferError(f"{machine.key} has other settings than declared"))

    async def _prove(
        self, route: Route, release: Release
    ) -> Proof | Fault | NewerRelease | RouteVerified:
        """Return what was observed; or that the host was not asked, as we cannot say for what."""
        machine = route.machine
        assert machine is not None
        try:
            await self._services.check_configuration(machine.key, release)
        except DomainError as error:
            return RouteVerified(route_id=route.route_id, skipped=f"its configuration: {error}")
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with self._hosts.connect(machine) as shell:
                    return await self._services.prove(shell, release)
            except DomainError as error:
                if isinstance(error, PackageError) and error.installed_version is not None:
                    newer = await in_thread(
                        self._newer, route, release, error.installed_version, str(error)
                    )
                    return newer or fault_of(error)
                if not error.retryable or attempt == ATTEMPTS:
                    return fault_of(error)
                activity.heartbeat(f"{machine.key}: {error}")
            await asyncio.sleep(PAUSE.total_seconds())
        raise AssertionError

    def _newer(
        self, route: Route, release: Release, version: str, summary: str
    ) -> NewerRelease | None:
        """Return what a host runs if that is newer than all that its record names, else None.

        What the record names was tried there at some time: a host that still runs it has drifted.
        """
        history = self._store.release_histories.get(route.route_id)
        named = {*history.tried, release.tag}
        if route.target_release_tag is not None:
            named.add(route.target_release_tag)
        versions = [version_of(self._store, tag) for tag in sorted(named)]
        if all(is_older(each, version) for each in versions):
            return NewerRelease(version=version, summary=summary)
        return None

    async def _has_operation(self, route_id: RouteId) -> bool:
        return await is_running(self._temporal, route_workflow_id(route_id))


class _Proofs:
    """Records the proofs of one activity: those of a moment together, in one transaction."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: list[RouteProven] = []
        self._next: asyncio.Task[frozenset[RouteId]] | None = None

    async def record(self, proven: RouteProven) -> bool:
        """Record a proof; return False if it has to be recorded alone."""
        self._waiting.append(proven)
        if self._next is None:
            self._next = asyncio.create_task(self._record_waiting())
        # Not shielded: all that wait are of one activity, and are cancelled together.
        return proven.before.route_id in await self._next

    async def _record_waiting(self) -> frozenset[RouteId]:
        await asyncio.sleep(MOMENT.total_seconds())
        waiting, self._waiting, self._next = self._waiting, [], None
        return await in_thread(self._store.verifications.record_proofs, waiting)


def _failed(route: RouteToVerify, error: BaseException) -> RouteVerified:
    """Log an unexpected error with its route and host, and return it as the route's result."""
    reason = f"{type(error).__name__}: {error}"
    log.error(
        f"the verification failed: {reason}",
        **{names.LOG_ROUTE: route.route_id, names.LOG_HOST: route.machine_key or ""},
        exc_info=error,
    )
    return RouteVerified(route_id=route.route_id, failed=reason[:MAX_REASON_CHARACTERS])


def _log_fault(route: Route, fault: Fault) -> None:
    """Log a fault with its route and host: the activity's own attributes name neither."""
    log.warning(
        fault.summary,
        **{
            names.LOG_FAULT: fault.kind,
            names.LOG_FAULT_CLASS: fault.fault_class.value,
            names.LOG_ROUTE: route.route_id,
            names.LOG_HOST: route.machine.key if route.machine else "",
        },
    )
