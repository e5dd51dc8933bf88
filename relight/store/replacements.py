"""How a route comes to another machine while it has one: create before destroy.

A route's next key is else given out only when the last machine is known to be gone
(`relight.store.route_opening`). Whoever has the route's lock, which is its workflow id, may plan one
further machine beside the one that serves. A run that ended without a word leaves it behind: the
next one takes it up, under the same key, whether it was made for the route or claimed from the
pool. Once the new machine serves, the old one is `draining` until it is known to be destroyed.

A route without a machine comes to its next one in the same way.
"""

from sqlmodel import Session

from relight.domain.machine import Machine
from relight.domain.names import machine_key
from relight.domain.proof import Proof
from relight.domain.route import RouteOpened
from relight.store.database import Database
from relight.store.errors import RouteOccupiedError, UnknownRouteError
from relight.store.machines import (
    MachineRecord,
    RecordStatus,
    describe,
    last_machine,
    next_generation,
    record_of,
)
from relight.store.route_opening import (
    has_lock,
    opened_as,
    plan_generation,
)
from relight.store.routes import (
    ROUTE_PROVEN,
    prove_route,
    require_of_route,
)
from relight.store.tables import (
    MachineRow,
    RouteRemediationRow,
    RouteRow,
)
from relight.store.write import Operation, Write, write

REPLACEMENT_MACHINE_PLANNED = "replacement-machine-planned"
MACHINE_ATTACHED = "machine-attached"


class Replacements:
    """The machines that take the place of others."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def plan(self, route_id: str, operation: Operation) -> RouteOpened:
        """Write the key of a route's next machine down, or take up the one that was left over.

        Raises:
            UnknownRouteError: there is no such route.
            RouteOccupiedError: the operation does not have the route's lock.
        """
        with write(self._database, operation, REPLACEMENT_MACHINE_PLANNED) as w:
            if w.earlier:
                return RouteOpened.model_validate(w.earlier.detail["opened"])
            route = require_lock(w, route_id)
            last = last_machine(w.session, route_id)
            left_over = is_left_over(last, route)
            if last is not None and left_over:
                last.held_run_id = operation.run_id
                machine = last
            else:
                machine = plan_generation(
                    w, route_id, next_generation(last), route.provider, route.region
                )
            w.session.add(machine)
            opened = opened_as(machine)
            w.log(
                route_id=route_id,
                machine_key=machine.key,
                detail={
                    "opened": opened.model_dump(),
                    "taken_up": left_over,
                    "serving": route.machine_key,
                },
            )
            return opened

    def attach(
        self,
        route_id: str,
        machine: Machine,
        proof: Proof,
        operation: Operation,
        *,
        unreachable: bool = False,
    ) -> MachineRecord | None:
        """Have a route served by its new machine, which was proven; the old one is draining.

        Return the old one as it is on record, None where there was none. It is destroyed next,
        which `Destructions` counts from now on.

        Args:
            route_id: the route.
            machine: the new one.
            proof: what was seen to run there; it is also what the route should run.
            operation: who asks.
            unreachable: nobody got through to the old one.

        Raises:
            UnknownRouteError: there is no such route.
            UnknownMachineError: the new machine was never planned.
            WrongMachineError: it is on its way to its end, or is another route's.
        """
        with write(self._database, operation, MACHINE_ATTACHED) as w:
            if w.earlier:
                key = w.earlier.detail["drained"]
                old = w.session.get(MachineRow, key) if key else None
                return record_of(old) if old else None
            route = w.session.get(RouteRow, route_id)
            if route is None:
                raise UnknownRouteError(f"there is no route {route_id}")
            row = require_of_route(w.session, route_id, machine.key)
            old = _drain(w.session, route, row)
            previous, place = route.current_release_tag, _place(route)
            describe(row, machine)
            prove_route(route, row, proof)
            route.target_release_tag = proof.release_tag
            w.session.add_all([route, row])
            _forget_what_was_asked(w.session, route_id)
            detail = {"proof": proof.model_dump(mode="json"), "previous": previous}
            w.log(
                kind=ROUTE_PROVEN,
                route_id=route_id,
                machine_key=row.key,
                release_tag=proof.release_tag,
                detail=detail,
            )
            w.log(
                route_id=route_id,
                machine_key=row.key,
                release_tag=proof.release_tag,
                detail={
                    **place,
                    "generation": row.generation,
                    "drained": old.key if old else None,
                    "drained_generation": old.generation if old else None,
                    "unreachable": unreachable,
                },
            )
            return record_of(old) if old else None


def require_lock(w: Write, route_id: str) -> RouteRow:
    """Return the row of a route whose lock the operation has.

    Raises:
        UnknownRouteError: there is no such route.
        RouteOccupiedError: the operation does not have its lock.
    """
    route = w.session.get(RouteRow, route_id)
    if route is None:
        raise UnknownRouteError(f"there is no route {route_id}")
    if not w.operation.run_id or not has_lock(route_id, w.operation):
        raise RouteOccupiedError(
            f"route {route_id} is {route.status} on machine {route.machine_key}: "
            "another one is planned for it under its own workflow id alone"
        )
    return route


def is_left_over(last: MachineRow | None, route: RouteRow) -> bool:
    """Say whether a route's newest machine is one that an earlier run left behind unused."""
    return (
        last is not None
        and last.key != route.machine_key
        and last.status in (RecordStatus.PLANNED, RecordStatus.RUNNING)
    )


def was_made_for(machine: MachineRow) -> bool:
    """Say whether a machine was made for its route, and not claimed from the pool."""
    return machine.key == machine_key(machine.route_id or "", machine.generation or 0)


def _drain(session: Session, route: RouteRow, new: MachineRow) -> MachineRow | None:
    """Have the machine that serves a route give way to a new one; return it."""
    if route.machine_key in (None, new.key):
        return None
    old = session.get(MachineRow, route.machine_key)
    if old is not None and old.status != RecordStatus.DESTROYED:
        old.status = RecordStatus.DRAINING
        session.add(old)
    return old


def _place(route: RouteRow) -> dict[str, str]:
    return {"provider": route.provider, "region": route.region, "track": route.track}


def _forget_what_was_asked(session: Session, route_id: str) -> None:
    """Forget what was about the old machine: that another was asked for, that it was gone."""
    remediations = session.get(RouteRemediationRow, route_id)
    if remediations is not None:
        remediations.asked_by = remediations.asked_reason = remediations.gone_since = None
        session.add(remediations)
