"""What is proven now, taken into a record that is older than the fleet."""

from sqlmodel import Session

from relight.domain.machine import MachineAtProvider
from relight.domain.names import ReleaseTag, ScopeName, TrackName, key_number
from relight.domain.pool.pool import PoolStatus
from relight.domain.proof import Proof
from relight.domain.route import Route, RouteStatus
from relight.store.database import Database
from relight.store.declarations import declare, require_track
from relight.store.events import Operation, Write, write
from relight.store.machines import (
    last_machine,
    mark_destroyed,
    next_generation,
    plan_machine,
    record_observed,
)
from relight.store.replacements import clear_remediation, drain
from relight.store.routes import ROUTE_PROVEN, prove_route, require_of_route
from relight.store.rows import require_route
from relight.store.sweeps import has_generation
from relight.store.tables import MachineRow, PoolMachineRow, RouteRow
from relight.store.verifications import why_not_recorded

CURRENT_ADOPTED = "current-adopted"
DECLARATION_ADOPTED = "declaration-adopted"


class Adoptions:
    """Every write is one transaction with its events. Nothing at a provider or host changes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def adopt(
        self,
        before: Route,
        machine: MachineAtProvider,
        proof: Proof,
        operation: Operation,
        *,
        is_new: bool = False,
        old_is_absent: bool = False,
    ) -> str | None:
        """Let a proven machine serve its route; return why not, None if it does.

        The machine that served it on record is draining then, or destroyed if it is absent. One
        that waits in the pool by the record is no longer in it.

        Args:
            before: the route as recorded when its host was observed.
            machine: as its provider has it.
            proof: what it was proven to run: the route's current and target release from now on.
            operation: who adopts it.
            is_new: the route is not on record.
            old_is_absent: the provider does not have the machine that serves it on record.

        Raises:
            UnknownTrackError: the track of a new route does not exist.
            WrongMachineError: the machine is draining or destroyed on record, or of another route.
        """
        with write(self._database, operation, CURRENT_ADOPTED) as w:
            if w.earlier:
                return None
            if is_new:
                _add_route(w, before)
            elif (refusal := why_not_recorded(w.session, before)) is not None:
                return refusal
            route = require_route(w.session, before.route_id)
            if w.session.get(MachineRow, machine.key) is None:
                w.session.add(_row_of(w, before.route_id, machine))
                w.session.flush()
            _take_from_pool(w.session, before.route_id, machine.key)
            row = require_of_route(w.session, before.route_id, machine.key)
            old = drain(w.session, route, row)
            if old is not None and old_is_absent:
                mark_destroyed(old, w.at)
            previous = route.current_release_tag
            record_observed(row, machine.machine)
            prove_route(route, row, proof)
            route.target_release_tag = proof.release_tag
            w.session.add_all([route, row])
            clear_remediation(w.session, before.route_id)
            w.log(
                kind=ROUTE_PROVEN,
                route_id=before.route_id,
                machine_key=row.key,
                release_tag=proof.release_tag,
                detail={"proof": proof.model_dump(mode="json"), "previous": previous},
            )
            w.log(
                route_id=before.route_id,
                machine_key=row.key,
                release_tag=proof.release_tag,
                detail={
                    "machine": machine.machine.model_dump(mode="json"),
                    "previous": previous,
                    "previous_machine": old.key if old else None,
                    "new_route": is_new,
                },
            )
            return None

    def declare(self, scope: ScopeName, release_tag: ReleaseTag, operation: Operation) -> None:
        """Declare for a scope what all of its routes are proven at.

        Raises:
            UnknownTrackError: the scope names a track that does not exist.
        """
        with write(self._database, operation, DECLARATION_ADOPTED) as w:
            if not w.earlier:
                declare(w, scope, release_tag)
                w.log(release_tag=release_tag, detail={"scope": scope})


def new_route(route_id: str, track: TrackName, machine: MachineAtProvider) -> Route:
    """Return the record of a route that is not on record, before it is proven."""
    return Route(
        route_id=route_id,
        track=track,
        provider=machine.provider,
        region=machine.region,
        status=RouteStatus.PROVISIONING,
    )


def _add_route(w: Write, route: Route) -> None:
    require_track(w.session, route.track)
    w.session.add(
        RouteRow(
            route_id=route.route_id,
            track=route.track,
            provider=route.provider,
            region=route.region,
            status=route.status,
        )
    )
    # First, since its machine refers to it.
    w.session.flush()


def _take_from_pool(session: Session, route_id: str, key: str) -> None:
    """Give a machine that waits in the pool to a route, as its next generation; others stay."""
    row, machine = session.get(PoolMachineRow, key), session.get(MachineRow, key)
    if row is None or machine is None or row.status == PoolStatus.LEAVING:
        return
    machine.route_id = route_id
    machine.generation = next_generation(last_machine(session, route_id))
    session.delete(row)
    session.add(machine)


def _row_of(w: Write, route_id: str, machine: MachineAtProvider) -> MachineRow:
    row = plan_machine(w, machine.key, machine.provider, machine.region)
    row.route_id, row.generation = route_id, _generation(w.session, route_id, machine.key)
    return row


def _generation(session: Session, route_id: str, key: str) -> int:
    """Return the number of a key, or a further one if a pool machine of the route has it."""
    number, following = key_number(key), next_generation(last_machine(session, route_id))
    taken = number < following and has_generation(session, route_id, number)
    return following if taken else number
