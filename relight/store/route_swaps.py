"""How a hot swap begins in the record of a route: its target is set, or the swap is refused.

The event of that names the run. It is how the rest of the run, whoever makes it, knows the machine
that is swapped and what was decided, although the record of the route may have changed since.
"""

from collections.abc import Callable

from sqlmodel import Session

from relight.domain.names import ReleaseTag, RouteId
from relight.domain.proof import Proof
from relight.domain.route import Route, SwapBegun, require_machine
from relight.store.events import Write
from relight.store.ledger import hold_during_operation
from relight.store.route_columns import change_route, with_its_machine
from relight.store.rows import machine_of, route_from
from relight.store.rows import require_machine as require_machine_row
from relight.store.tables import EventRow

TARGET_SET = "target-set"


def begin_swap(
    w: Write, route_id: RouteId, release_tag: ReleaseTag, may_downgrade: Callable[[Route], bool]
) -> SwapBegun:
    """Set the target of a route; its operation has the route out from now on.

    Raises:
        UnknownRouteError: there is no such route.
        RouteWithoutMachineError: no machine serves it.
    """
    columns, machine = with_its_machine(w.connection, route_id)
    route = route_from(columns, machine)
    begun = SwapBegun(
        machine=require_machine(route),
        allow_downgrade=may_downgrade(route),
        previous_release_tag=route.current_release_tag,
    )
    hold_during_operation(w, route_id)
    change_route(w.connection, columns, {"target_release_tag": release_tag})
    w.log(
        route_id=route_id,
        machine_key=begun.machine.key,
        release_tag=release_tag,
        detail={
            "previous": route.target_release_tag,
            "current": begun.previous_release_tag,
            "allow_downgrade": begun.allow_downgrade,
        },
    )
    return begun


def begun_earlier(session: Session, event: EventRow, proven: EventRow | None) -> SwapBegun:
    """Return what an earlier attempt has begun.

    Args:
        session: of the store.
        event: of its target.
        proven: the event of its proof; None if it has recorded none.
    """
    assert event.machine_key is not None
    return SwapBegun(
        machine=machine_of(require_machine_row(session, event.machine_key)),
        allow_downgrade=event.detail["allow_downgrade"],
        previous_release_tag=event.detail["current"],
        proof=Proof.model_validate(proven.detail["proof"]) if proven else None,
    )
