"""What a failed operation leaves on record of a route.

The event is always written. What else changes follows from what the operation had done:

- it opened the route, and its machine is gone: the machine is `destroyed`, the route `failed`;
- it never opened the route (`machine_destroyed`, yet no machine of it was this run's), or it was
  refused: nothing was changed, so the route stays as it is;
- the repository is to blame, which nothing is installed from then: the route serves on, and should
  run what it runs;
- it was about another machine than the one that serves the route, as a successor that came to
  nothing or one that was replaced since: the route stays as it is;
- it worked on a route: that is `faulted`, or `failed` where it has no machine.
"""

from sqlmodel import Session, select

from relight.domain.fault.fault import Fault, FaultClass
from relight.domain.route import RecordFaultInput, RouteStatus
from relight.store.machines import RecordStatus, mark_destroyed
from relight.store.tables import MachineRow, RouteRow
from relight.store.write import Operation, Write


def record_fault(w: Write, input: RecordFaultInput) -> None:
    """Write down why an operation on a route failed."""
    held = _held(w.session, input, w.operation)
    if input.machine_destroyed:
        for machine in held:
            if _known_to_be_gone(machine, input):
                mark_destroyed(machine, w.at)
                w.session.add(machine)
    route = w.session.get(RouteRow, input.route_id)
    untouched = not held and (input.machine_destroyed or input.fault.refused)
    if route is not None and not untouched and not _is_anothers(w.session, route, input):
        if input.fault.fault_class is FaultClass.REPOSITORY and route.current_release_tag:
            route.target_release_tag = route.current_release_tag
            w.session.add(route)
        else:
            settle(w.session, route, input.fault)
    w.log(
        route_id=input.route_id,
        machine_key=input.machine_key,
        release_tag=input.release_tag,
        fault=input.fault,
        detail={
            "fault": input.fault.model_dump(mode="json"),
            "machine_destroyed": input.machine_destroyed,
        },
    )


def _held(session: Session, input: RecordFaultInput, operation: Operation) -> list[MachineRow]:
    """Return the machines of the route that this run was given, or that the fault names gone."""
    query = select(MachineRow).where(MachineRow.route_id == input.route_id)
    return [
        machine
        for machine in session.exec(query)
        if (operation.run_id and machine.held_run_id == operation.run_id)
        or (input.machine_destroyed and machine.key == input.machine_key)
    ]


def _known_to_be_gone(machine: MachineRow, input: RecordFaultInput) -> bool:
    """Say whether the fault speaks for this machine.

    Where it names none, the operation never learned its key, so it created nothing: a machine
    that it planned itself does not exist. One that it took up from an earlier run may.
    """
    if input.machine_key is not None:
        return machine.key == input.machine_key
    return machine.planned_run_id == machine.held_run_id


def _is_anothers(session: Session, route: RouteRow, input: RecordFaultInput) -> bool:
    """Say whether the fault is about another machine than the one that serves the route."""
    serving = session.get(MachineRow, route.machine_key) if route.machine_key else None
    if serving is None or serving.status == RecordStatus.DESTROYED:
        return False
    return input.machine_destroyed or input.machine_key not in (None, serving.key)


def settle(session: Session, route: RouteRow, fault: Fault) -> None:
    """Write down that a route does not fare well: `faulted`, or `failed` without a machine."""
    machine = session.get(MachineRow, route.machine_key) if route.machine_key else None
    route.fault = fault.model_dump(mode="json")
    if machine is None or machine.status == RecordStatus.DESTROYED:
        route.status = RouteStatus.FAILED
        route.machine_key = None
        route.current_release_tag = None
        route.proven_at = None
    else:
        route.status = RouteStatus.FAULTED
    session.add(route)
