"""Routes: the slots that users are assigned to, and what is known of each."""

from collections.abc import Sequence
from typing import Any

from sqlmodel import Session, col, select

from fleet.database import Database
from fleet.declarations import require_track
from fleet.errors import UnknownRouteError, WrongMachineError
from fleet.machines import describe, require_alive
from fleet.operation import Operation
from fleet.reading import route_of, routes_with_machines
from fleet.route_faults import record_fault
from fleet.route_opening import open_route
from fleet.tables import EventRow, MachineRow, RouteRow, TrackRow
from fleet.writing import write
from messages.names import ReleaseTag, ScopeName, scope_track
from messages.route import (
    OpenRouteInput,
    RecordFaultInput,
    RecordMachineInput,
    RecordProofInput,
    Route,
    RouteOpened,
    RouteStatus,
    SetTargetInput,
)

ROUTE_PROVEN = "route-proven"
"""The event that a proof becomes."""


class Routes:
    """Every write is one transaction with its event, and an activity's retry writes once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, route_id: str) -> Route | None:
        """Return a route with the machine that serves it, None if it is not there.

        Raises:
            BadValueError: it was changed by hand and is not of its shape.
        """
        with self._database.reading() as session:
            row = session.get(RouteRow, route_id)
            machine = session.get(MachineRow, row.machine_key) if row and row.machine_key else None
            return route_of(row, machine) if row else None

    def open(self, input: OpenRouteInput, operation: Operation) -> RouteOpened:
        """Write a route and its next machine's key down; `fleet.route_opening` says which.

        Raises:
            UnknownTrackError: there is no such track.
            RouteOccupiedError: the route has a machine, or what may be one in another place, or
                it is being provisioned by somebody else.
        """
        with write(self._database, operation, "route-opened") as w:
            if w.earlier:
                return RouteOpened.model_validate(w.earlier.detail["opened"])
            return open_route(w, input)

    def record_machine(self, input: RecordMachineInput, operation: Operation) -> None:
        """Write down what a provider created for a key that was planned.

        Raises:
            UnknownMachineError: the key was never planned.
            WrongMachineError: the machine is destroyed.
        """
        with write(self._database, operation, "machine-recorded") as w:
            if w.earlier:
                return
            machine = require_alive(w.session, input.machine.key)
            describe(machine, input.machine)
            machine.user_data_sha256 = input.user_data_sha256
            w.session.add(machine)
            w.log(
                route_id=machine.route_id,
                machine_key=machine.key,
                detail={
                    "machine": input.machine.model_dump(mode="json"),
                    "user_data_sha256": input.user_data_sha256,
                },
            )

    def set_target(self, input: SetTargetInput, operation: Operation) -> None:
        """Write down what a route should run.

        Raises:
            UnknownRouteError: there is no such route.
        """
        with write(self._database, operation, "target-set") as w:
            if w.earlier:
                return
            route = _require(w.session, input.route_id)
            previous, route.target_release_tag = route.target_release_tag, input.release_tag
            w.session.add(route)
            w.log(
                route_id=route.route_id,
                machine_key=route.machine_key,
                release_tag=input.release_tag,
                detail={"previous": previous},
            )

    def record_proof(self, input: RecordProofInput, operation: Operation) -> None:
        """Write down what a route was proven to run: it serves, on the machine that was seen.

        Raises:
            UnknownRouteError: there is no such route.
            UnknownMachineError: the machine was never planned.
            WrongMachineError: the machine is destroyed, or is another route's.
        """
        with write(self._database, operation, ROUTE_PROVEN) as w:
            if w.earlier:
                return
            route = _require(w.session, input.route_id)
            machine = require_alive(w.session, input.machine.key)
            if machine.route_id != route.route_id:
                raise WrongMachineError(
                    f"machine {machine.key} is route {machine.route_id}'s, "
                    f"not route {route.route_id}'s"
                )
            previous = route.current_release_tag
            describe(machine, input.machine)
            route.machine_key = machine.key
            route.current_release_tag = input.proof.release_tag
            route.proven_at = input.proof.observed_at
            route.status = RouteStatus.SERVING
            route.fault = None
            w.session.add_all([machine, route])
            w.log(
                route_id=route.route_id,
                machine_key=machine.key,
                release_tag=input.proof.release_tag,
                detail={"proof": input.proof.model_dump(mode="json"), "previous": previous},
            )

    def record_fault(self, input: RecordFaultInput, operation: Operation) -> None:
        """Write down why an operation failed; `fleet.route_faults` says what else changes."""
        with write(self._database, operation, "fault-recorded") as w:
            if not w.earlier:
                record_fault(w, input)

    def proven_tags(self, route_id: str) -> list[ReleaseTag]:
        """Return every release that a route was proven at, the last one last."""
        query = (
            select(EventRow.release_tag)
            .where(EventRow.route_id == route_id, EventRow.kind == ROUTE_PROVEN)
            .order_by(col(EventRow.event_id))
        )
        with self._database.reading() as session:
            return [tag for tag in session.exec(query) if tag is not None]

    def in_scope(self, scope: ScopeName) -> list[Route]:
        """Return the routes that a scope's declaration governs and that hold a machine, by id.

        Raises:
            UnknownTrackError: the scope names a track that is not there.
            BadValueError: one was changed by hand and is not of its shape.
        """
        with self._database.reading() as session:
            return routes_with_machines(session, _in_scope(session, select(RouteRow), scope))

    def architectures(self, scope: ScopeName) -> Sequence[str]:
        """Return what machines the routes of a scope have, by Debian's names, sorted.

        Raises:
            UnknownTrackError: the scope names a track that is not there.
        """
        names = select(MachineRow.architecture).join(
            RouteRow, col(RouteRow.machine_key) == col(MachineRow.key)
        )
        with self._database.reading() as session:
            found = session.exec(_in_scope(session, names, scope).distinct())
            return sorted(name for name in found if name)

    def list(self, track: str | None = None) -> list[Route]:
        """Return the routes of a track, or all, by id.

        Raises:
            BadValueError: one was changed by hand and is not of its shape.
        """
        query = select(RouteRow)
        if track is not None:
            query = query.where(RouteRow.track == track)
        with self._database.reading() as session:
            return routes_with_machines(session, query)


def _require(session: Session, route_id: str) -> RouteRow:
    row = session.get(RouteRow, route_id)
    if row is None:
        raise UnknownRouteError(f"there is no route {route_id}")
    return row


def _in_scope(session: Session, query: Any, scope: ScopeName) -> Any:
    """Return a query about routes, of those that a scope's declaration governs and have a machine.

    Raises:
        UnknownTrackError: the scope names a track that is not there.
    """
    query = query.where(col(RouteRow.machine_key).is_not(None))
    track = scope_track(scope)
    if track is not None:
        require_track(session, track)
        return query.where(RouteRow.track == track)
    governed = select(TrackRow.name).where(col(TrackRow.release_override).is_(None))
    return query.where(col(RouteRow.track).in_(governed))
