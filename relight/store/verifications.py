"""Results of verifications, which run without the route's lock."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy.exc import DataError, IntegrityError
from sqlmodel import Session, col, select

from relight.domain.doubt import DIFFERS
from relight.domain.fault.fault import Fault
from relight.domain.names import ReleaseTag, RouteId
from relight.domain.proof import NewerRelease, Proof
from relight.domain.route import RecordFaultInput, Route
from relight.store.database import Database
from relight.store.errors import StoreError
from relight.store.events import Operation, Write, append_events, write, written_among
from relight.store.ledger import routes_held
from relight.store.remediations import DRIFT_FOUND
from relight.store.route_faults import record_fault
from relight.store.routes import (
    FAULT_RECORDED,
    ROUTE_PROVEN,
    prove_route,
    require_of_route,
)
from relight.store.rows import Columns, require_route, route_of, routes_with_machines
from relight.store.tables import DisruptionRow, MachineRow, RouteRow

RECORD_DOUBTED = "record-doubted"


@dataclass(frozen=True)
class RouteBegun:
    """A route as recorded before its verification.

    Attributes:
        in_operation: an operation or a rollout has it out.
    """

    route: Route
    in_operation: bool


@dataclass(frozen=True)
class RouteProven:
    """A proof to record.

    Attributes:
        before: the route as recorded before the verification; it has a machine.
        operation: the verification of this route.
        drift: what differs on the host nevertheless: the route keeps its status.
    """

    before: Route
    proof: Proof
    operation: Operation
    drift: Fault | None = None


class Verifications:
    """A result is recorded only if no operation has worked on the route meanwhile."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def routes_in_operation(self) -> frozenset[RouteId]:
        """Return the routes that a rollout or another operation works on, by the store."""
        with self._database.reading() as session:
            return frozenset(routes_held(session))

    def begin(self, route_ids: Collection[RouteId]) -> Mapping[RouteId, RouteBegun]:
        """Return these routes by id. An invalid one is noted and left out."""
        query = select(RouteRow).where(col(RouteRow.route_id).in_(route_ids))
        with self._database.reading() as session:
            routes, held = routes_with_machines(session, query), set(routes_held(session))
        return {each.route_id: RouteBegun(each, each.route_id in held) for each in routes}

    def record_proofs(self, proofs: Sequence[RouteProven]) -> frozenset[RouteId]:
        """Record proofs of different routes in one transaction; return those of which it is done.

        Each other route is for `record`, which finds out why: it was changed meanwhile, or an
        earlier attempt has recorded it, or its record is damaged. A transaction costs more than
        what it writes of a route: so this is a write of the fleet, and a short one.

        Args:
            proofs: one at least, all of the same workflow run.
        """
        try:
            return self._record_proofs(proofs)
        except (IntegrityError, DataError):  # A row was made invalid by hand: none is recorded.
            return frozenset()

    def _record_proofs(self, proofs: Sequence[RouteProven]) -> frozenset[RouteId]:
        recorded: set[RouteId] = set()
        events: list[Columns] = []
        with self._database.transaction() as transaction:
            session = transaction.session
            rows, machines = _rows_of(session, [each.before for each in proofs])
            held = frozenset(routes_held(session))
            done = written_among(session, [each.operation for each in proofs], ROUTE_PROVEN)
            at = datetime.now(UTC)
            for each in proofs:
                route_id = each.before.route_id
                row = rows.get(route_id)
                if row is None or route_id in held or each.operation.activity_id in done:
                    continue
                w = Write(transaction, each.operation, ROUTE_PROVEN, None, at)
                try:
                    if route_of(row, machines.get(row.machine_key or "")) != each.before:
                        continue
                    events += _record_proof(w, each.before, each.proof, each.drift)
                except StoreError:
                    continue
                recorded.add(route_id)
            if events:
                append_events(transaction, events)
        return frozenset(recorded)

    def record(
        self,
        before: Route,
        release_tag: ReleaseTag,
        result: Proof | Fault | NewerRelease,
        operation: Operation,
        drift: Fault | None = None,
    ) -> str | None:
        """Record a result; return why it was not recorded, None if it was.

        Args:
            before: the route as recorded before the verification.
            release_tag: the release that the host was compared with.
            result: a proof, the fault that was found, or a release that is newer than the record:
                then the route keeps its status.
            operation: the verification; its retries write once.
            drift: what differs on a host that was proven: its route keeps its status.

        Raises:
            UnknownMachineError: its machine was never planned.
            WrongMachineError: its machine is draining or destroyed, or belongs to another route.
        """
        kind = _kind(before, release_tag, result)
        with write(self._database, operation, kind, before.route_id) as w:
            if w.earlier:
                return None
            refusal = why_not_recorded(w.session, before)
            if refusal is not None:
                return refusal
            if isinstance(result, Proof):
                w.append(_record_proof(w, before, result, drift))
            elif isinstance(result, NewerRelease):
                _record_newer(w, before, result)
            else:
                _clear_newer(w, before, result)
                assert before.machine is not None
                record_fault(
                    w,
                    RecordFaultInput(
                        route_id=before.route_id,
                        release_tag=release_tag,
                        fault=result,
                        origin=operation.origin,
                        machine_key=before.machine.key,
                    ),
                )
            return None


CHANGED_MEANWHILE = "it was changed meanwhile"
"""Why a result is not recorded: the route is not as it was when the observation began."""


def _kind(before: Route, release_tag: ReleaseTag, result: Proof | Fault | NewerRelease) -> str:
    if isinstance(result, Proof):
        return ROUTE_PROVEN
    if isinstance(result, NewerRelease):
        return RECORD_DOUBTED
    return DRIFT_FOUND if before.current_release_tag == release_tag else FAULT_RECORDED


def _rows_of(
    session: Session, routes: Sequence[Route]
) -> tuple[Mapping[str, RouteRow], Mapping[str, MachineRow]]:
    """Return the rows of routes, and those of their machines, each by its key.

    As long as they are kept, the session finds them without another query.
    """
    route_ids = [each.route_id for each in routes]
    keys = [each.machine.key for each in routes if each.machine is not None]
    rows = session.exec(select(RouteRow).where(col(RouteRow.route_id).in_(route_ids)))
    machines = session.exec(select(MachineRow).where(col(MachineRow.key).in_(keys)))
    return {each.route_id: each for each in rows}, {each.key: each for each in machines}


def why_not_recorded(session: Session, before: Route) -> str | None:
    """Return why a result is not recorded; None if the route is unchanged and not in use."""
    row = session.get(RouteRow, before.route_id)
    machine = session.get(MachineRow, row.machine_key) if row and row.machine_key else None
    if row is None or route_of(row, machine) != before:
        return CHANGED_MEANWHILE
    in_operation = session.get(DisruptionRow, before.route_id) is not None
    return "another operation works on it" if in_operation else None


def _record_newer(w: Write, before: Route, newer: NewerRelease) -> None:
    """Record that a host is newer than its record; once for each version."""
    if before.newer_version == newer.version:
        return
    row = require_route(w.session, before.route_id)
    row.newer_version = newer.version
    w.session.add(row)
    w.log(
        route_id=before.route_id,
        machine_key=row.machine_key,
        release_tag=before.current_release_tag,
        detail={"version": newer.version, "summary": newer.summary},
    )


def _clear_newer(w: Write, before: Route, found: Fault) -> None:
    """End the doubt if the host runs another version by now, which is not newer."""
    if before.newer_version is not None and found.kind == DIFFERS:
        row = require_route(w.session, before.route_id)
        row.newer_version = None
        w.session.add(row)


def _record_proof(w: Write, before: Route, proof: Proof, drift: Fault | None) -> Sequence[Columns]:
    """Change the record of a route that was proven; return the events, which are not written."""
    row = require_route(w.session, before.route_id)
    assert before.machine is not None
    machine = require_of_route(w.session, before.route_id, before.machine.key)
    events = [
        w.event(
            route_id=before.route_id,
            machine_key=machine.key,
            release_tag=proof.release_tag,
            detail={"proof": proof.model_dump(mode="json"), "previous": before.current_release_tag},
        )
    ]
    if drift is not None:
        events.append(
            w.event(
                kind=DRIFT_FOUND,
                route_id=before.route_id,
                machine_key=machine.key,
                release_tag=proof.release_tag,
                fault=drift,
                detail={"fault": drift.model_dump(mode="json")},
            )
        )
    prove_route(row, machine, proof)
    w.session.add(row)
    return events
