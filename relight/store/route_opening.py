"""How a route comes to its next machine's key, so that no machine is ever lost track of.

A key is on record, `planned`, before anything is created under it, and leaves the record only as
`destroyed`. The next generation's key is given out when the last one's is `destroyed`, never
before. Where a run ended without a word (its workflow was terminated), nobody knows whether the
machine that it planned exists: the next run is given the same key. Creating adopts what has the
key and undoing destroys it, so whatever was left is taken up or cleared away, and a workflow that
was cut off late still creates nothing but what this key names.

That the earlier run is gone is known from the workflow id, which is the route's lock: when a run
under that id asks, no other one is alive. Whoever asks without the lock is refused.
"""

from sqlmodel import Session

from relight.domain.names import machine_key, route_workflow_id
from relight.domain.route import (
    OpenRouteInput,
    RouteOpened,
    RouteStatus,
)
from relight.store.declarations import require_track
from relight.store.errors import RouteOccupiedError
from relight.store.machines import (
    RecordStatus,
    last_machine,
    next_generation,
    plan_machine,
)
from relight.store.rows import naming
from relight.store.tables import MachineRow, RouteRow
from relight.store.write import Operation, Write


def open_route(w: Write, input: OpenRouteInput) -> RouteOpened:
    """Write a route and its machine down before anything is created.

    Raises:
        UnknownTrackError: there is no such track.
        RouteOccupiedError: the route has a machine, or what may be one in another place, or it
            is being provisioned by somebody else.
    """
    require_track(w.session, input.track)
    route = w.session.get(RouteRow, input.route_id)
    last = last_machine(w.session, input.route_id)
    _require_vacant(route, last, input, w.operation)
    _write_route(w.session, route, input)
    left_over = last is not None and last.status != RecordStatus.DESTROYED
    if last is not None and left_over:
        last.held_run_id = w.operation.run_id
        machine = last
    else:
        machine = plan_generation(
            w, input.route_id, next_generation(last), input.provider, input.region
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
        },
    )
    return opened


def _require_vacant(
    route: RouteRow | None, last: MachineRow | None, input: OpenRouteInput, operation: Operation
) -> None:
    route_id = input.route_id
    if route is not None and route.machine_key is not None:
        raise RouteOccupiedError(
            f"route {route_id} is {route.status} on machine {route.machine_key}"
        )
    if last is None or last.status == RecordStatus.DESTROYED:
        return
    if not may_take_up(last, route_id, operation):
        raise RouteOccupiedError(
            f"route {route_id} is being provisioned: machine {last.key} is {last.status}"
        )
    if (last.provider, last.region) != (input.provider, input.region):
        raise RouteOccupiedError(
            f"an earlier operation on route {route_id} ended without a word, and its machine "
            f"{last.key} may exist in {last.provider}/{last.region}: provision it there"
        )


def may_take_up(last: MachineRow, route_id: str, operation: Operation) -> bool:
    """Say whether the operation may go on with what an earlier one left of a route's machine."""
    if not operation.run_id:
        return False
    return operation.run_id == last.held_run_id or has_lock(route_id, operation)


def has_lock(route_id: str, operation: Operation) -> bool:
    """Say whether the operation runs under the id that is the route's lock."""
    return operation.workflow_id == route_workflow_id(route_id)


def plan_generation(
    w: Write, route_id: str, generation: int, provider: str, region: str
) -> MachineRow:
    """Return the row of a route's machine that is to be."""
    machine = plan_machine(w, machine_key(route_id, generation), provider, region)
    machine.route_id, machine.generation = route_id, generation
    return machine


def opened_as(machine: MachineRow) -> RouteOpened:
    """Return the key that a route is given, and its generation."""
    with naming(f"machine {machine.key}"):
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
    # Its machine refers to it: it comes first.
    session.flush()
