"""How a route gets another machine while it has one: create before destroy.

Otherwise a route's next key is given out only when its last machine is known to be destroyed
(`relight.store.route_opening`). The run that has the route's lock, which is its workflow id, may
plan one further machine beside the one that serves. A run that ended without a result leaves it
behind. The next run continues with it under the same key, whether it was created for the route or
claimed from the pool. Once the new machine serves, the old one is `draining` until it is known to
be destroyed.

A route without a machine gets its next one in the same way.
"""

from typing import NamedTuple

from sqlmodel import Session

from relight.domain.machine import Machine
from relight.domain.names import ReleaseTag, machine_key
from relight.domain.proof import Proof
from relight.domain.route import RouteOpened
from relight.store.database import Database
from relight.store.errors import RouteOccupiedError
from relight.store.events import Operation, Write, write
from relight.store.ledger import has_lock
from relight.store.machines import (
    MachineRecord,
    last_machine,
    next_generation,
    record_observed,
    record_of,
)
from relight.store.route_opening import (
    opened_as,
    plan_generation,
)
from relight.store.routes import (
    ROUTE_PROVEN,
    prove_route,
    require_of_route,
)
from relight.store.rows import require_route
from relight.store.tables import (
    MachineRow,
    RecordStatus,
    RouteRemediationRow,
    RouteRow,
)

REPLACEMENT_MACHINE_PLANNED = "replacement-machine-planned"
MACHINE_ATTACHED = "machine-attached"


class NextMachine(NamedTuple):
    """The next machine of a route.

    Attributes:
        is_planned: it is on record already, left over from an earlier run.
    """

    key: str
    is_planned: bool


class Replacements:
    """Plan a route's next machine, and attach it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def plan(self, route_id: str, operation: Operation) -> RouteOpened:
        """Record the key of a route's next machine, or return the one that was left over.

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

    def following(self, route_id: str) -> NextMachine:
        """Return the next key of a route, also of one that is not on record. Nothing is written."""
        with self._database.reading() as session:
            route, last = session.get(RouteRow, route_id), last_machine(session, route_id)
            if route is not None and last is not None and is_left_over(last, route):
                return NextMachine(key=last.key, is_planned=True)
            return NextMachine(key=machine_key(route_id, next_generation(last)), is_planned=False)

    def attach(  # noqa: PLR0913 - one argument for each fact of the replacement
        self,
        route_id: str,
        machine: Machine,
        proof: Proof,
        operation: Operation,
        *,
        unreachable: bool = False,
        requested: bool = False,
        instead_of: ReleaseTag | None = None,
        instead_reason: str = "",
    ) -> MachineRecord | None:
        """Let a route's new, proven machine serve it; the old one is draining from now on.

        Return the record of the old machine, None if there was none. It is destroyed next;
        `Destructions` counts it from now on.

        Args:
            route_id: the route.
            machine: the new one.
            proof: what the machine was proven to run; becomes the route's target as well.
            operation: the operation that attaches it.
            unreachable: the old machine could not be reached.
            requested: a person asked for another machine.
            instead_of: the target until now, if it is known as bad and was not installed.
            instead_reason: why it is.

        Raises:
            UnknownRouteError: there is no such route.
            UnknownMachineError: the new machine was never planned.
            WrongMachineError: it is draining or destroyed, or belongs to another route.
        """
        with write(self._database, operation, MACHINE_ATTACHED) as w:
            if w.earlier:
                key = w.earlier.detail["drained"]
                old = w.session.get(MachineRow, key) if key else None
                return record_of(old) if old else None
            route = require_route(w.session, route_id)
            row = require_of_route(w.session, route_id, machine.key)
            old = drain(w.session, route, row)
            previous = route.current_release_tag
            record_observed(row, machine)
            prove_route(route, row, proof)
            route.target_release_tag = proof.release_tag
            w.session.add_all([route, row])
            clear_remediation(w.session, route_id)
            w.log(
                kind=ROUTE_PROVEN,
                route_id=route_id,
                machine_key=row.key,
                release_tag=proof.release_tag,
                detail={"proof": proof.model_dump(mode="json"), "previous": previous},
            )
            w.log(
                route_id=route_id,
                machine_key=row.key,
                release_tag=proof.release_tag,
                detail={
                    "provider": route.provider,
                    "region": route.region,
                    "track": route.track,
                    "generation": row.generation,
                    "drained": old.key if old else None,
                    "drained_generation": old.generation if old else None,
                    "unreachable": unreachable,
                    "requested": requested,
                    "instead_of": instead_of,
                    "instead_reason": instead_reason,
                },
            )
            return record_of(old) if old else None


def require_lock(w: Write, route_id: str) -> RouteRow:
    """Return the row of a route whose lock the operation has.

    Raises:
        UnknownRouteError: there is no such route.
        RouteOccupiedError: the operation does not have its lock.
    """
    route = require_route(w.session, route_id)
    if not w.operation.run_id or not has_lock(route_id, w.operation):
        raise RouteOccupiedError(
            f"route {route_id} is {route.status} on machine {route.machine_key}: "
            "only a run under its own workflow id may plan another one"
        )
    return route


def is_left_over(last: MachineRow | None, route: RouteRow) -> bool:
    """Return whether a route's newest machine was left unused by an earlier run."""
    return (
        last is not None
        and last.key != route.machine_key
        and last.status in (RecordStatus.PLANNED, RecordStatus.RUNNING)
    )


def was_created_for_route(machine: MachineRow) -> bool:
    """Return whether a machine was created for its route, and not claimed from the pool."""
    return machine.key == machine_key(machine.route_id or "", machine.generation or 0)


def drain(session: Session, route: RouteRow, new: MachineRow) -> MachineRow | None:
    """Mark the machine that serves a route as draining; return it, None if there is none."""
    if route.machine_key in (None, new.key):
        return None
    old = session.get(MachineRow, route.machine_key)
    if old is not None and old.status != RecordStatus.DESTROYED:
        old.status = RecordStatus.DRAINING
        session.add(old)
    return old


def clear_remediation(session: Session, route_id: str) -> None:
    """Clear what was about the old machine: the request to replace it, and that it was gone."""
    row = session.get(RouteRemediationRow, route_id)
    if row is not None:
        row.replacement_requested_by = row.replacement_reason = row.gone_since = None
        session.add(row)
