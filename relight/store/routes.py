"""Routes: the slots that users are assigned to, and the state of each."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence, Set
from functools import partial
from typing import Any

from sqlalchemy import func
from sqlmodel import Session, col, select

from relight.domain.machine import Machine
from relight.domain.names import (
    ReleaseTag,
    RouteId,
    ScopeName,
    scope_track,
)
from relight.domain.proof import Proof
from relight.domain.rollout.wave import JoinLateInput
from relight.domain.route import (
    CheckVacantInput,
    OpenRouteInput,
    RecordFaultInput,
    RecordMachineInput,
    RecordProofInput,
    Route,
    RouteOpened,
    RouteStatus,
    SwapBegun,
)
from relight.store.database import Database
from relight.store.declarations import require_track
from relight.store.errors import WrongMachineError
from relight.store.events import Operation, Write, first_of_run, write, written_by
from relight.store.ledger import release_after_operation
from relight.store.machines import observed, record_observed
from relight.store.route_columns import change_machine, change_route, with_machine
from relight.store.route_faults import record_fault
from relight.store.route_opening import open_route, require_vacant
from relight.store.route_swaps import TARGET_SET, begin_swap, begun_earlier
from relight.store.rows import (
    BRIEF,
    Columns,
    RouteBrief,
    briefs,
    machine_of,
    no_machine,
    refuse_destroyed,
    require_alive,
    require_machine,
    require_route,
    route_of,
    routes_with_machines,
)
from relight.store.tables import (
    DisruptionRow,
    EventRow,
    MachineRow,
    RecordStatus,
    RolloutRouteRow,
    RouteRow,
    TrackRow,
)

ROUTE_PROVEN = "route-proven"
SWAP_ATTEMPTED = "swap-attempted"
FAULT_RECORDED = "fault-recorded"
ROUTE_MOVED = "route-moved"


class Routes:
    """Every write is one transaction with its event. Retries of an activity write once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, route_id: str) -> Route | None:
        """Return a route with the machine that serves it, None if it does not exist.

        Raises:
            BadValueError: it was changed by hand and is invalid.
        """
        with self._database.reading() as session:
            row = session.get(RouteRow, route_id)
            machine = session.get(MachineRow, row.machine_key) if row and row.machine_key else None
            return route_of(row, machine) if row else None

    def open(self, input: OpenRouteInput, operation: Operation) -> RouteOpened:
        """Record a route and its next machine's key (see `relight.store.route_opening`).

        Raises:
            UnknownTrackError: there is no such track.
            RouteOccupiedError: the route has a machine, or may have one in another location, or
                another operation provisions it.
        """
        with write(self._database, operation, "route-opened") as w:
            if w.earlier:
                return RouteOpened.model_validate(w.earlier.detail["opened"])
            return open_route(w, input)

    def require_vacant(self, input: CheckVacantInput, operation: Operation) -> None:
        """Check that an operation could open a route. Nothing is written.

        Raises:
            RouteOccupiedError: as for `open`.
        """
        with self._database.reading() as session:
            require_vacant(session, input, operation)

    def record_machine(self, input: RecordMachineInput, operation: Operation) -> None:
        """Record the machine that a provider created for a planned key.

        Raises:
            UnknownMachineError: the key was never planned.
            WrongMachineError: the machine is destroyed.
        """
        with write(self._database, operation, "machine-recorded") as w:
            if w.earlier:
                return
            machine = require_alive(w.session, input.machine.key)
            record_observed(machine, input.machine)
            machine.user_data_sha256 = input.user_data_sha256
            if input.image is not None:
                machine.image_name, machine.image_id = input.image.name, input.image.image_id
            w.session.add(machine)
            w.log(
                route_id=machine.route_id,
                machine_key=machine.key,
                detail={
                    "machine": input.machine.model_dump(mode="json"),
                    "user_data_sha256": input.user_data_sha256,
                    "image": input.image.model_dump() if input.image else None,
                },
            )

    def begin_swap(
        self,
        route_id: RouteId,
        release_tag: ReleaseTag,
        operation: Operation,
        may_downgrade: Callable[[Route], bool],
    ) -> SwapBegun:
        """Record the release that a route should run; the operation has the route out from now on.

        An attempt that finds an earlier one goes on with what that has decided.

        Args:
            route_id: the route.
            release_tag: what it should run.
            operation: the swap.
            may_downgrade: returns whether an older release may be installed; raises to refuse it.

        Raises:
            UnknownRouteError: there is no such route.
            RouteWithoutMachineError: no machine serves it.
        """
        with write(self._database, operation, TARGET_SET, route_id) as w:
            if w.earlier:
                proven = written_by(w.transaction, operation, ROUTE_PROVEN)
                return begun_earlier(w.session, w.earlier, proven)
            return begin_swap(w, route_id, release_tag, may_downgrade)

    def swapped_machine(self, operation: Operation) -> Machine | None:
        """Return the machine that the operation's run has begun to swap, None if it has not."""
        with self._database.reading() as session:
            event = first_of_run(session, operation.run_id, TARGET_SET)
            row = session.get(MachineRow, event.machine_key) if event else None
            return machine_of(row) if row else None

    def record_proof(self, input: RecordProofInput, operation: Operation) -> None:
        """Record a proof: the route serves, at the proven release, on the proven machine.

        Nothing is written for a swap that has failed, or that another swap has followed: the
        attempt of a worker that was given up may still end.

        Raises:
            UnknownRouteError: there is no such route.
            UnknownMachineError: the machine was never planned.
            WrongMachineError: the machine is draining or destroyed, or belongs to another route,
                or another machine serves the route.
        """
        with write(self._database, operation, ROUTE_PROVEN, input.route_id) as w:
            if w.earlier:
                return
            held = release_after_operation(w, input.route_id)
            if input.swap_attempt is not None and not held and _is_given_up(w, input.route_id):
                return
            route_id, key = input.route_id, input.machine.key
            route, machine = with_machine(w.connection, route_id, key)
            if machine is None:
                raise no_machine(key)
            _check_of_route(route_id, key, machine["route_id"], machine["status"])
            if route["machine_key"] not in (None, key):
                raise WrongMachineError(
                    f"route {route_id} is served by machine {route['machine_key']}, not by {key}"
                )
            change_machine(w.connection, machine, observed(machine["status"], input.machine))
            change_route(w.connection, route, _proven(key, input.proof))
            event = partial(
                w.event,
                route_id=route_id,
                machine_key=key,
                release_tag=input.proof.release_tag,
            )
            attempt, previous = input.swap_attempt, route["current_release_tag"]
            of_attempt = [] if attempt is None else [event(kind=SWAP_ATTEMPTED, detail=attempt)]
            proof = input.proof.model_dump(mode="json")
            w.append([*of_attempt, event(detail={"proof": proof, "previous": previous})])

    def record_fault(self, input: RecordFaultInput, operation: Operation) -> None:
        """Record why an operation failed, and its effect (see `relight.store.route_faults`)."""
        with write(self._database, operation, FAULT_RECORDED, input.route_id) as w:
            if not w.earlier:
                record_fault(w, input)
                release_after_operation(w, input.route_id)

    def move(self, route_id: str, track: str, operation: Operation) -> str | None:
        """Move a route to another track; return why this was refused, None if it was not.

        A route that is in the track already stays unchanged. Its release does not change here.

        Raises:
            UnknownRouteError: there is no such route.
            UnknownTrackError: there is no such track.
        """
        with write(self._database, operation, ROUTE_MOVED) as w:
            route = require_route(w.session, route_id)
            require_track(w.session, track)
            if w.earlier or route.track == track:
                return None
            if w.session.get(DisruptionRow, route_id) is not None:
                return f"an operation is changing route {route_id}: move it when it is done"
            previous, route.track = route.track, track
            w.session.add(route)
            w.log(
                route_id=route_id,
                machine_key=route.machine_key,
                detail={"previous": previous, "track": track},
            )
            return None

    def proven_tags(self, route_id: str) -> list[ReleaseTag]:
        """Return the releases that a route was proven at, oldest first."""
        query = (
            select(EventRow.release_tag)
            .where(EventRow.route_id == route_id, EventRow.kind == ROUTE_PROVEN)
            .order_by(col(EventRow.event_id))
        )
        with self._database.reading() as session:
            return [tag for tag in session.exec(query) if tag is not None]

    def proven_releases(self, scope: ScopeName) -> Set[ReleaseTag | None]:
        """Return the releases that a scope's routes are proven at; None stands for no proof now.

        Raises:
            UnknownTrackError: the scope names a track that does not exist.
        """
        query = select(RouteRow.current_release_tag, RouteRow.target_release_tag, RouteRow.status)
        with self._database.reading() as session:
            rows = session.exec(_in_scope(session, query, scope).distinct()).all()
        return {
            current if status == RouteStatus.SERVING and target in {None, current} else None
            for current, target, status in rows
        }

    def in_scope(self, scope: ScopeName) -> list[RouteBrief]:
        """Return the routes that a scope's declaration governs and that have a machine, unordered.

        Raises:
            UnknownTrackError: the scope names a track that does not exist.
            BadValueError: one was changed by hand and is invalid.
        """
        with self._database.reading() as session:
            return briefs(session, _in_scope(session, BRIEF, scope))

    def newcomers(self, input: JoinLateInput) -> list[RouteBrief]:
        """Return the routes of a scope that no earlier wave has and that are not at the release.

        Raises:
            UnknownTrackError: the scope names a track that does not exist.
            BadValueError: one was changed by hand and is invalid.
        """
        known = select(RolloutRouteRow.route_id).where(
            RolloutRouteRow.rollout_run_id == input.rollout_run_id,
            RolloutRouteRow.wave < input.number,
        )
        query = BRIEF.where(
            col(RouteRow.route_id).not_in(known),
            col(RouteRow.current_release_tag).is_distinct_from(input.release_tag),
        )
        with self._database.reading() as session:
            return briefs(session, _in_scope(session, query, input.scope))

    def sample_by_region(self, scope: ScopeName, per_region: int) -> list[Route]:
        """Return up to `per_region` routes of each of a scope's regions, by id.

        Serving routes are preferred, then the first ones by id.

        Raises:
            UnknownTrackError: the scope names a track that does not exist.
            BadValueError: one was changed by hand and is invalid.
        """
        rank = func.row_number().over(
            partition_by=[col(RouteRow.provider), col(RouteRow.region)],
            order_by=[col(RouteRow.status) != RouteStatus.SERVING, col(RouteRow.route_id)],
        )
        query = select(RouteRow.route_id, rank.label("rank"))
        with self._database.reading() as session:
            ranked = _in_scope(session, query, scope).subquery()
            chosen = select(ranked.c.route_id).where(ranked.c.rank <= per_region)
            routes = select(RouteRow).where(col(RouteRow.route_id).in_(chosen))
            return routes_with_machines(session, routes)

    def releases(self, scope: ScopeName) -> Mapping[ReleaseTag, Sequence[str]]:
        """Return the current releases of a scope's routes, each with its machines' architectures.

        Both are sorted.

        Raises:
            UnknownTrackError: the scope names a track that does not exist.
        """
        pairs = (
            select(RouteRow.current_release_tag, MachineRow.architecture)
            .outerjoin(MachineRow, col(MachineRow.key) == col(RouteRow.machine_key))
            .where(col(RouteRow.current_release_tag).is_not(None))
        )
        found: defaultdict[ReleaseTag, list[str]] = defaultdict(list)
        with self._database.reading() as session:
            for tag, architecture in session.exec(_in_scope(session, pairs, scope).distinct()):
                found[tag] += [architecture] if architecture else []
        return {tag: sorted(found[tag]) for tag in sorted(found)}

    def targeting(self, scope: ScopeName, tag: ReleaseTag) -> Sequence[RouteId]:
        """Return the routes of a scope whose target is a release, sorted.

        Raises:
            UnknownTrackError: the scope names a track that does not exist.
        """
        query = select(RouteRow.route_id).where(RouteRow.target_release_tag == tag)
        with self._database.reading() as session:
            return sorted(session.exec(_in_scope(session, query, scope)))

    def architectures(self, scope: ScopeName) -> Sequence[str]:
        """Return the architectures of a scope's machines, by Debian's names, sorted.

        Raises:
            UnknownTrackError: the scope names a track that does not exist.
        """
        names = select(MachineRow.architecture).join(
            RouteRow, col(RouteRow.machine_key) == col(MachineRow.key)
        )
        with self._database.reading() as session:
            found = session.exec(_in_scope(session, names, scope).distinct())
            return sorted(name for name in found if name)

    def current_releases(self, scope: ScopeName) -> Mapping[ReleaseTag, int]:
        """Return how many routes of a scope were last proven at each release.

        Raises:
            UnknownTrackError: the scope names a track that does not exist.
        """
        counted = select(RouteRow.current_release_tag, func.count()).group_by(
            RouteRow.current_release_tag
        )
        with self._database.reading() as session:
            found = session.exec(_in_scope(session, counted, scope))
            return {tag: count for tag, count in found if tag is not None}

    def list(self, track: str | None = None) -> list[Route]:
        """Return the routes of a track, or all, by id.

        Raises:
            BadValueError: one was changed by hand and is invalid.
        """
        query = select(RouteRow)
        if track is not None:
            query = query.where(RouteRow.track == track)
        with self._database.reading() as session:
            return routes_with_machines(session, query)


def require_of_route(session: Session, route_id: str, key: str) -> MachineRow:
    """Return the row of a machine that may serve a route.

    Raises:
        UnknownMachineError: it was never planned.
        WrongMachineError: it is draining or destroyed, or belongs to another route or the pool.
    """
    machine = require_machine(session, key)
    _check_of_route(route_id, key, machine.route_id, machine.status)
    return machine


def _check_of_route(route_id: str, key: str, owner_id: str | None, status: str) -> None:
    """Check that a machine may serve a route.

    Args:
        route_id: the route.
        key: of the machine.
        owner_id: the route that the machine belongs to, None for the pool.
        status: of the machine.

    Raises:
        WrongMachineError: as for `require_of_route`.
    """
    refuse_destroyed(key, status)
    if owner_id != route_id:
        owner = f"route {owner_id}" if owner_id else "the pool"
        raise WrongMachineError(f"machine {key} belongs to {owner}, not to route {route_id}")
    if status == RecordStatus.DRAINING:
        raise WrongMachineError(f"machine {key} is draining: another machine has replaced it")
    if status == RecordStatus.KEPT:
        raise WrongMachineError(f"machine {key} is kept by a person: nothing works on it")


def _is_given_up(w: Write, route_id: str) -> bool:
    """Return whether the operation's run has failed, or another run has begun a swap after it."""
    newest = (
        select(EventRow.run_id)
        .where(EventRow.route_id == route_id, EventRow.kind == TARGET_SET)
        .order_by(col(EventRow.event_id).desc())
        .limit(1)
    )
    run_id = w.operation.run_id
    if w.session.exec(newest).one_or_none() not in (None, run_id):
        return True
    return first_of_run(w.session, run_id, FAULT_RECORDED) is not None


def prove_route(route: RouteRow, machine: MachineRow, proof: Proof) -> None:
    """Record that a route serves on a machine, at the proven release."""
    route.sqlmodel_update({**_proven(machine.key, proof)})


def _proven(machine_key: str, proof: Proof) -> Columns:
    """Return the columns of a route that serves on a machine, at the proven release."""
    return {
        "machine_key": machine_key,
        "current_release_tag": proof.release_tag,
        "proven_at": proof.observed_at,
        "status": RouteStatus.SERVING,
        "fault": None,
        "newer_version": None,
    }


def _in_scope(session: Session, query: Any, scope: ScopeName) -> Any:
    """Narrow a query to the routes that a scope's declaration governs and that have a machine.

    Raises:
        UnknownTrackError: the scope names a track that does not exist.
    """
    query = query.where(col(RouteRow.machine_key).is_not(None))
    track = scope_track(scope)
    if track is not None:
        require_track(session, track)
        return query.where(RouteRow.track == track)
    governed = select(TrackRow.name).where(col(TrackRow.release_override).is_(None))
    return query.where(col(RouteRow.track).in_(governed))
