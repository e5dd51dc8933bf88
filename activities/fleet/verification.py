"""Many routes looked at in one activity: read-only, and without a workflow each."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import structlog
from temporalio import activity
from temporalio.client import Client

from activities import policies
from activities.faults import describe
from activities.operation import current_operation
from activities.route.proof import ProofActivities
from relight.domain.fault.error import DomainError
from relight.domain.fault.fault import Fault
from relight.domain.machine import Machine
from relight.domain.names import RouteId, route_workflow_id
from relight.domain.proof import Proof
from relight.domain.reconcile.run import (
    RoutesVerified,
    RouteToVerify,
    RouteVerified,
    VerifyRoutesInput,
)
from relight.domain.release import Release
from relight.domain.route import Route
from relight.engine import logs
from relight.engine.executions import is_under_way
from relight.engine.step import step
from relight.hosts.connections import Hosts
from relight.releases.source import ReleaseSource
from relight.store.store import Store
from relight.store.write import Operation

AT_ONCE = 25
"""How many hosts one audit looks at at the same time. Each is a login and one question."""

TRIES = 3
PAUSE = timedelta(seconds=2)
"""A link that broke is tried again before it is held against a host."""

log: structlog.stdlib.BoundLogger = structlog.get_logger("relight.audits")


class VerificationActivities:
    """Proves what hosts run, and writes that down where nobody knows better by then."""

    def __init__(
        self,
        store: Store,
        hosts: Hosts,
        services: ProofActivities,
        repository: ReleaseSource,
        temporal: Client,
    ) -> None:
        self._store = store
        self._hosts = hosts
        self._services = services
        self._repository = repository
        self._temporal = temporal

    @step(policies.AUDIT, lambda i: f"of {len(i.routes)} routes")
    async def verify_routes(self, input: VerifyRoutesInput) -> RoutesVerified:
        """Look at each route's host, and write a proof or a fault down for it.

        A route that somebody works on, or that changed meanwhile, is left to them.
        """
        operation, at_once = current_operation(input.origin), asyncio.Semaphore(AT_ONCE)
        releases: dict[str, Release | Fault] = {}
        for tag in sorted({asked.release_tag for asked in input.routes}):
            releases[tag] = await self._release(tag)

        async def audit(asked: RouteToVerify) -> RouteVerified:
            async with at_once:
                came = await self._audit(asked, releases[asked.release_tag], operation)
                activity.heartbeat(asked.route_id)
                return came

        return RoutesVerified(routes=tuple(await asyncio.gather(*map(audit, input.routes))))

    async def _release(self, tag: str) -> Release | Fault:
        """Return what a tag stands for, as it was resolved last; or why nobody can say."""
        known = await asyncio.to_thread(self._store.releases.get, tag)
        if known is not None:
            return known
        try:
            return await self._repository.resolve(tag, ())
        except DomainError as error:
            return describe(error)

    async def _audit(
        self, asked: RouteToVerify, release: Release | Fault, operation: Operation
    ) -> RouteVerified:
        route_id = asked.route_id
        if isinstance(release, Fault):
            return RouteVerified(route_id=route_id, skipped=release.summary)
        route = await asyncio.to_thread(self._store.routes.get, route_id)
        if route is None or route.machine is None:
            return RouteVerified(route_id=route_id, skipped="it has no machine")
        if await self._is_worked_on(route_id):
            return RouteVerified(route_id=route_id, skipped="somebody works on it")
        result = await self._look(route.machine, release)
        if await self._is_worked_on(route_id):
            return RouteVerified(route_id=route_id, skipped="somebody began to work on it")
        why_not = await asyncio.to_thread(
            self._store.verifications.record,
            route,
            release.tag,
            result,
            replace(operation, activity_id=f"{operation.activity_id}/{route_id}"),
        )
        if isinstance(result, Fault) and why_not is None:
            _tell(route, result)
        kind = result.kind if isinstance(result, Fault) and why_not is None else None
        return RouteVerified(route_id=route_id, fault=kind, skipped=why_not)

    async def _look(self, machine: Machine, release: Release) -> Proof | Fault:
        for attempt in range(1, TRIES + 1):
            try:
                async with self._hosts.connect(machine) as shell:
                    return await self._services.prove(shell, release)
            except DomainError as error:
                if not error.retryable or attempt == TRIES:
                    return describe(error)
                activity.heartbeat(f"{machine.key}: {error}")
            await asyncio.sleep(PAUSE.total_seconds())
        raise AssertionError

    async def _is_worked_on(self, route_id: RouteId) -> bool:
        return await is_under_way(self._temporal, route_workflow_id(route_id))


def _tell(route: Route, fault: Fault) -> None:
    """Say on which host of which route something is amiss: the activity is about many."""
    log.warning(
        fault.summary,
        **{
            logs.FAULT: fault.kind,
            logs.FAULT_CLASS: fault.fault_class.value,
            logs.ROUTE: route.route_id,
            logs.HOST: route.machine.key if route.machine else "",
        },
    )
