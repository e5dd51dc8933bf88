"""What a look from outside an operation saw of a route: written only where it is still news."""

from sqlmodel import Session, select

from fleet.care import DRIFT_FOUND
from fleet.database import Database
from fleet.operation import Operation
from fleet.reading import route_of
from fleet.rollout_routes import claimed_by_rollouts
from fleet.route_faults import record_fault
from fleet.routes import ROUTE_PROVEN, prove_route, require_of_route
from fleet.tables import DisruptionRow, MachineRow, RouteRow
from fleet.writing import Write, write
from messages.faults import Fault
from messages.names import ReleaseTag, RouteId
from messages.proof import Proof
from messages.route import RecordFaultInput, Route

FAULT_RECORDED = "fault-recorded"


class Audits:
    """An audit has no route's lock, so whoever has worked on the route since knows better."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def under_way(self) -> frozenset[RouteId]:
        """Return the routes that somebody has under way by our record: rollouts, and all others."""
        with self._database.reading() as session:
            return frozenset(_under_way(session))

    def record(
        self, seen: Route, release_tag: ReleaseTag, came_of_it: Proof | Fault, operation: Operation
    ) -> str | None:
        """Write a proof or a fault down; return why that was not done, None where it was.

        Args:
            seen: the route as it was on record before the look.
            release_tag: what it was looked for.
            came_of_it: what the look showed.
            operation: whose look; one writes once.

        Raises:
            UnknownMachineError: its machine was never planned.
            WrongMachineError: its machine is on its way to its end, or is another's.
        """
        with write(self._database, operation, _kind(seen, release_tag, came_of_it)) as w:
            if w.earlier:
                return None
            why_not = _why_not(w.session, seen)
            if why_not is not None:
                return why_not
            if isinstance(came_of_it, Proof):
                _prove(w, seen, came_of_it)
            else:
                assert seen.machine is not None
                record_fault(
                    w,
                    RecordFaultInput(
                        route_id=seen.route_id,
                        release_tag=release_tag,
                        fault=came_of_it,
                        origin=operation.origin,
                        machine_key=seen.machine.key,
                    ),
                )
            return None


def _kind(seen: Route, release_tag: ReleaseTag, came_of_it: Proof | Fault) -> str:
    if isinstance(came_of_it, Proof):
        return ROUTE_PROVEN
    return DRIFT_FOUND if seen.current_release_tag == release_tag else FAULT_RECORDED


def _why_not(session: Session, seen: Route) -> str | None:
    """Return why a look is not written down; None if all stands as when it began."""
    row = session.get(RouteRow, seen.route_id)
    machine = session.get(MachineRow, row.machine_key) if row and row.machine_key else None
    if row is None or route_of(row, machine) != seen:
        return "it was changed meanwhile"
    return "somebody works on it" if seen.route_id in _under_way(session) else None


def _under_way(session: Session) -> set[RouteId]:
    held = session.exec(select(DisruptionRow.route_id)).all()
    return {*claimed_by_rollouts(session), *held}


def _prove(w: Write, seen: Route, proof: Proof) -> None:
    row = w.session.get(RouteRow, seen.route_id)
    assert row is not None
    assert seen.machine is not None
    machine = require_of_route(w.session, seen.route_id, seen.machine.key)
    prove_route(row, machine, proof)
    w.session.add(row)
    w.log(
        route_id=seen.route_id,
        machine_key=machine.key,
        release_tag=proof.release_tag,
        detail={"proof": proof.model_dump(mode="json"), "previous": seen.current_release_tag},
    )
