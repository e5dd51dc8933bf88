"""What a failed operation changes in the record of a route.

With one exception, the event is written. The rest depends on what the operation had done:

- It is a swap that was refused before it began: nothing is written.
- It opened the route, and its machine is destroyed: the machine is `destroyed`, the route `failed`.
- It never opened the route (`machine_destroyed`, but this run had no machine of it): nothing was
  changed, so the route stays unchanged.
- The fault is the repository's, or the host refused the change, so nothing was installed: the route
  keeps serving, and its target is its current release again.
- It was about another machine than the one that serves the route (a replacement that failed, or a
  machine that was replaced since): the route stays unchanged.
- It worked on the route: the route is `faulted`, or `failed` if it has no machine.
"""

from sqlmodel import Session, select

from relight.domain.fault.fault import Fault, FaultClass
from relight.domain.route import RecordFaultInput, RouteStatus
from relight.store.events import Operation, Write, first_of_run
from relight.store.machines import mark_destroyed
from relight.store.route_swaps import TARGET_SET
from relight.store.tables import MachineRow, RecordStatus, RouteRow


def record_fault(w: Write, input: RecordFaultInput) -> None:
    """Record why an operation on a route failed."""
    if not input.of_swap:
        _record(w, input)
        return
    begun = first_of_run(w.session, w.operation.run_id, TARGET_SET)
    if begun is None and input.fault.refused:
        return
    of_machine = begun or w.session.get(RouteRow, input.route_id)
    machine_key = of_machine.machine_key if of_machine else None
    _record(w, input.model_copy(update={"machine_key": machine_key}))


def _record(w: Write, input: RecordFaultInput) -> None:
    held = _held_machines(w.session, input, w.operation)
    if input.machine_destroyed:
        for machine in held:
            if _is_destroyed(machine, input):
                mark_destroyed(machine, w.at)
                w.session.add(machine)
    route = w.session.get(RouteRow, input.route_id)
    unchanged = not held and input.machine_destroyed
    if route is not None and not unchanged and not _is_of_other_machine(w.session, route, input):
        fault = input.fault
        installed_nothing = fault.refused or fault.fault_class is FaultClass.REPOSITORY
        if installed_nothing and route.current_release_tag:
            route.target_release_tag = route.current_release_tag
            w.session.add(route)
        elif held or not fault.refused:
            mark_faulted(w.session, route, fault)
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


def mark_faulted(session: Session, route: RouteRow, fault: Fault) -> None:
    """Record a route's fault: it is `faulted`, or `failed` if it has no machine."""
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


def _held_machines(
    session: Session, input: RecordFaultInput, operation: Operation
) -> list[MachineRow]:
    """Return the route's machines that this run held, or that the fault says are destroyed."""
    query = select(MachineRow).where(MachineRow.route_id == input.route_id)
    return [
        machine
        for machine in session.exec(query)
        if (operation.run_id and machine.held_run_id == operation.run_id)
        or (input.machine_destroyed and machine.key == input.machine_key)
    ]


def _is_destroyed(machine: MachineRow, input: RecordFaultInput) -> bool:
    """Return whether the fault says that this machine is destroyed.

    Where it names no machine, the operation never received a key, so it created nothing: a machine
    that it planned itself does not exist. One that it took over from an earlier run may exist.
    """
    if input.machine_key is not None:
        return machine.key == input.machine_key
    return machine.planned_run_id == machine.held_run_id


def _is_of_other_machine(session: Session, route: RouteRow, input: RecordFaultInput) -> bool:
    """Return whether the fault is about another machine than the one that serves the route."""
    named = session.get(MachineRow, input.machine_key) if input.machine_key else None
    if named is not None and named.status in (RecordStatus.DRAINING, RecordStatus.KEPT):
        # Unless its undo was refused: then it is removed, and the route's operation failed with it.
        return not (route.status == RouteStatus.PROVISIONING and route.machine_key is None)
    serving = session.get(MachineRow, route.machine_key) if route.machine_key else None
    if serving is None or serving.status == RecordStatus.DESTROYED:
        return False
    return input.machine_destroyed or input.machine_key not in (None, serving.key)
