"""How a route gets its next machine's key, so that no machine is ever lost track of.

A key is recorded as `planned` before anything is created under it, and its record is kept: the
last status is `destroyed`. The next generation's key is given out only when the last machine is
`destroyed`. Where a run ended without a result (its workflow was terminated), it is unknown
whether the machine that it planned exists, so the next run gets the same key. Creating adopts a
machine that has the key, and undoing destroys it, so what was left is reused or removed. A
workflow that is terminated late can create nothing but the machine of this key.

The workflow id, which is the route's lock, shows that the earlier run has ended: when a run under
that id asks for a key, no other run is alive. Requests without the lock are refused.
"""

from sqlmodel import Session

from relight.domain.names import machine_key
from relight.domain.route import (
    CheckVacantInput,
    OpenRouteInput,
    RouteOpened,
    RouteStatus,
)
from relight.store.declarations import require_track
from relight.store.errors import RouteOccupiedError
from relight.store.events import Operation, Write
from relight.store.ledger import has_lock
from relight.store.machines import last_machine, next_generation, plan_machine
from relight.store.rows import validating
from relight.store.tables import MachineRow, RecordStatus, RouteRow

_OUT_OF_THE_WAY = (RecordStatus.DESTROYED, RecordStatus.KEPT)
"""Statuses of a route's newest machine with which the route gets another one."""


def open_route(w: Write, input: OpenRouteInput) -> RouteOpened:
    """Record a route and its planned machine before anything is created.

    Raises:
        UnknownTrackError: there is no such track.
        RouteOccupiedError: the route has a machine, or may have one in another location, or
            another operation provisions it.
    """
    require_track(w.session, input.track)
    require_vacant(w.session, input, w.operation)
    last = last_machine(w.session, input.route_id)
    _write_route(w.session, w.session.get(RouteRow, input.route_id), input)
    left_over = last is not None and last.status not in _OUT_OF_THE_WAY
    if last is not None and left_over:
        last.held_run_id = w.operation.run_id
        machine = last
    else:
        machine = plan_generation(
            w, input.route_id, _free_generation(w, input.route_id), input.provider, input.region
        )
    w.session.add(machine)
    opened = opened_as(machine)
    w.log(
        route_id=input.route_id,
        machine_key=machine.key,
        release_tag=input.release_tag,
        detail={
            "opened": opened.model_dump(),
            "taken_up": left_over,
            "track": input.track,
            "provider": input.provider,
            "region": input.region,
            "instead_of": input.instead_of,
            "instead_reason": input.instead_reason,
        },
    )
    return opened


def require_vacant(
    session: Session, input: CheckVacantInput | OpenRouteInput, operation: Operation
) -> None:
    """Check that a route has no machine, and may have none but in the location of the input.

    Raises:
        RouteOccupiedError: the route has a machine, or may have one in another location, or
            another operation provisions it.
    """
    route_id = input.route_id
    route, last = session.get(RouteRow, route_id), last_machine(session, route_id)
    if route is not None and route.machine_key is not None:
        raise RouteOccupiedError(
            f"route {route_id} is {route.status} on machine {route.machine_key}"
        )
    if last is None or last.status in _OUT_OF_THE_WAY:
        return
    if last.status == RecordStatus.DRAINING:
        raise RouteOccupiedError(
            f"machine {last.key} of route {route_id} is still being removed: wait until "
            f"`relight route show {route_id}` shows it as destroyed"
        )
    if not _may_continue(last, route_id, operation):
        raise RouteOccupiedError(
            f"route {route_id} is being provisioned: machine {last.key} is {last.status}"
        )
    if (last.provider, last.region) != (input.provider, input.region):
        raise RouteOccupiedError(
            f"an earlier operation on route {route_id} ended without a result, and its machine "
            f"{last.key} may exist in {last.provider}/{last.region}: provision it there"
        )


def _may_continue(last: MachineRow, route_id: str, operation: Operation) -> bool:
    """Return whether the operation may continue with a machine that an earlier one left behind."""
    if not operation.run_id:
        return False
    return operation.run_id == last.held_run_id or has_lock(route_id, operation)


def _free_generation(w: Write, route_id: str) -> int:
    """Return the generation of a route's next machine.

    The keys of the machines of a route that was deleted stay on record; none is given out twice.
    """
    number = next_generation(last_machine(w.session, route_id))
    while w.session.get(MachineRow, machine_key(route_id, number)) is not None:
        number += 1
    return number


def plan_generation(
    w: Write, route_id: str, generation: int, provider: str, region: str
) -> MachineRow:
    """Return the row of a route's planned machine, which the caller adds."""
    machine = plan_machine(w, machine_key(route_id, generation), provider, region)
    machine.route_id, machine.generation = route_id, generation
    return machine


def opened_as(machine: MachineRow) -> RouteOpened:
    """Return the key and generation of a route's planned machine."""
    with validating(f"machine {machine.key}"):
        return RouteOpened.model_validate(
            {"machine_key": machine.key, "generation": machine.generation}
        )


def _write_route(session: Session, route: RouteRow | None, input: OpenRouteInput) -> None:
    row = route or RouteRow(route_id=input.route_id, track="", provider="", region="", status="")
    row.track, row.provider, row.region = input.track, input.provider, input.region
    row.status = RouteStatus.PROVISIONING
    row.target_release_tag = input.release_tag
    row.fault = None
    session.add(row)
    # First, since its machine refers to it.
    session.flush()
