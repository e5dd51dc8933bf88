"""Retired routes: their machines are removed, their history stays."""

from sqlmodel import col, select

from relight.domain.route import RouteRetired, RouteStatus
from relight.store.database import Database
from relight.store.events import Operation, write
from relight.store.remediations import remediation_row, set_gone_since
from relight.store.replacements import require_lock
from relight.store.rows import machine_of
from relight.store.tables import MachineRow, RecordStatus

ROUTE_RETIRED = "route-retired"


class Retirements:
    """A retired route has no machine. It can be provisioned again."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def retire(self, route_id: str, operation: Operation) -> RouteRetired:
        """Retire a route; return its machines, which are draining from now on.

        A route that is retired already stays so, and has no machine to drain. A machine that was
        only planned may not exist: a sweep finds out and destroys it.

        Raises:
            UnknownRouteError: there is no such route.
            RouteOccupiedError: the operation does not have the route's lock.
        """
        with write(self._database, operation, ROUTE_RETIRED) as w:
            if w.earlier:
                return RouteRetired.model_validate(w.earlier.detail["retired"])
            route = require_lock(w, route_id)
            machines = w.session.exec(
                select(MachineRow).where(
                    MachineRow.route_id == route_id,
                    # One that a person keeps is kept until a person names it.
                    col(MachineRow.status).not_in((RecordStatus.DESTROYED, RecordStatus.KEPT)),
                )
            ).all()
            observed, drained = [], []
            for machine in machines:
                drained.append(machine.key)
                if machine.status != RecordStatus.DRAINING and machine.provider_id is not None:
                    observed.append(machine_of(machine))
                machine.status = RecordStatus.DRAINING
                w.session.add(machine)
            retired = RouteRetired(route_id=route_id, track=route.track, machines=tuple(observed))
            w.log(
                route_id=route_id,
                machine_key=route.machine_key,
                release_tag=route.current_release_tag,
                detail={
                    "previous": route.status,
                    "retired": retired.model_dump(mode="json"),
                    "drained": drained,
                },
            )
            route.status = RouteStatus.RETIRED
            route.machine_key = route.target_release_tag = route.current_release_tag = None
            route.proven_at = route.fault = route.newer_version = None
            row = remediation_row(w.session, route_id)
            row.quarantined_at = row.quarantine_reason = None
            row.replacement_requested_by = row.replacement_reason = None
            set_gone_since(route, row, None)
            w.session.add_all([route, row])
            return retired
