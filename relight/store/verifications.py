"""What a look from outside an operation saw of a route: written only where it is still news."""

from sqlmodel import Session, select

from relight.domain.fault.fault import Fault
from relight.domain.names import ReleaseTag, RouteId
from relight.domain.proof import Proof
from relight.domain.route import RecordFaultInput, Route
from relight.store.database import Database
from relight.store.remediations import DRIFT_FOUND
from relight.store.rollout_routes import claimed_by_rollouts
from relight.store.route_faults import record_fault
from relight.store.routes import (
    ROUTE_PROVEN,
    prove_route,
    require_of_route,
)
from relight.store.rows import route_of
from relight.store.tables import (
    DisruptionRow,
    MachineRow,
    RouteRow,
)
from relight.store.write import Operation, Write, write

FAULT_RECORDED = "fault-recorded"


class Verifications:
    """An audit has no route's lock, so whoever has worked on the route since knows better."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def under_way(self) -> frozenset[RouteId]:
        """Return the routes that somebody has under way by our record: rollouts, and all others."""
        with self._database.reading() as session:
            return frozenset(_under_way(session))

    def record(
        self, seen: Route, release_tag: ReleaseTag, result: Proof | Fault, operation: Operation
    ) -> str | None:
        """Write a proof or a fault down; return why that was not done, None where it was.

        Args:
            seen: the route as it was on record before the look.
            release_tag: what it was looked for.
            result: what the look showed.
            operation: whose look; one writes once.

        Raises:
            UnknownMachineError: its machine was never planned.
            WrongMachineError: its machine is on its way to its end, or is another's.
        """
        with write(self._database, operation, _kind(seen, release_tag, result)) as w:
            if w.earlier:
                return None
            why_not = _why_not(w.session, seen)
            if why_not is not None:
                return why_not
            if isinstance(result, Proof):
                _prove(w, seen, result)
            else:
                assert seen.machine is not None
                record_fault(
                    w,
                    RecordFaultInput(
                        route_id=seen.route_id,
                        release_tag=release_tag,
                        fault=result,
                        origin=operation.origin,
                        machine_key=seen.machine.key,
                    ),
                )
            return None


def _kind(seen: Route, release_tag: ReleaseTag, result: Proof | Fault) -> str:
    if isinstance(result, Proof):
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
