"""Many routes looked at in one activity: read-only, and without a workflow each."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import structlog
from temporalio import activity
from temporalio.client import Client

from activities.engine import is_under_way
from activities.errors import describe
from activities.hosts import Hosts
from activities.operation import current_operation
from activities.services import ServiceActivities
from fleet.operation import Operation
from fleet.store import Store
from messages import log_names
from messages.errors import DomainError
from messages.faults import Fault
from messages.machine import Machine
from messages.names import RouteId, route_workflow_id
from messages.proof import Proof
from messages.reconciling import AuditRoute, AuditRoutesInput, RouteAudited, RoutesAudited
from messages.release import Release
from messages.route import Route
from repositories.source import ReleaseSource

AT_ONCE = 25
"""How many hosts one audit looks at at the same time. Each is a login and one question."""

TRIES = 3
PAUSE = timedelta(seconds=2)
"""A link that broke is tried again before it is held against a host."""

log: structlog.stdlib.BoundLogger = structlog.get_logger("relight.audits")


class AuditActivities:
    """Proves what hosts run, and writes that down where nobody knows better by then."""

    def __init__(
        self,
        store: Store,
        hosts: Hosts,
        services: ServiceActivities,
        repository: ReleaseSource,
        temporal: Client,
    ) -> None:
        self._store = store
        self._hosts = hosts
        self._services = services
        self._repository = repository
        self._temporal = temporal

    @activity.defn
    async def audit_routes(self, input: AuditRoutesInput) -> RoutesAudited:
        """Look at each route's host, and write a proof or a fault down for it.

        A route that somebody works on, or that changed meanwhile, is left to them.
        """
        operation, at_once = current_operation(input.origin), asyncio.Semaphore(AT_ONCE)
        releases: dict[str, Release | Fault] = {}
        for tag in sorted({asked.release_tag for asked in input.routes}):
            releases[tag] = await self._release(tag)

        async def audit(asked: AuditRoute) -> RouteAudited:
            async with at_once:
                came = await self._audit(asked, releases[asked.release_tag], operation)
                activity.heartbeat(asked.route_id)
                return came

        return RoutesAudited(routes=tuple(await asyncio.gather(*map(audit, input.routes))))

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
        self, asked: AuditRoute, release: Release | Fault, operation: Operation
    ) -> RouteAudited:
        route_id = asked.route_id
        if isinstance(release, Fault):
            return RouteAudited(route_id=route_id, skipped=release.summary)
        route = await asyncio.to_thread(self._store.routes.get, route_id)
        if route is None or route.machine is None:
            return RouteAudited(route_id=route_id, skipped="it has no machine")
        if await self._is_worked_on(route_id):
            return RouteAudited(route_id=route_id, skipped="somebody works on it")
        came_of_it = await self._look(route.machine, release)
        if await self._is_worked_on(route_id):
            return RouteAudited(route_id=route_id, skipped="somebody began to work on it")
        why_not = await asyncio.to_thread(
            self._store.audits.record,
            route,
            release.tag,
            came_of_it,
            replace(operation, activity_id=f"{operation.activity_id}/{route_id}"),
        )
        if isinstance(came_of_it, Fault) and why_not is None:
            _tell(route, came_of_it)
        kind = came_of_it.kind if isinstance(came_of_it, Fault) and why_not is None else None
        return RouteAudited(route_id=route_id, fault=kind, skipped=why_not)

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
            log_names.FAULT: fault.kind,
            log_names.FAULT_CLASS: fault.fault_class.value,
            log_names.ROUTE: route.route_id,
            log_names.HOST: route.machine.key if route.machine else "",
        },
    )
