"""Rows read as messages."""

from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from fleet.checking import naming
from fleet.machines import machine_of
from fleet.tables import MachineRow, RouteRow
from messages.route import Route


def routes_with_machines(session: Session, query: SelectOfScalar[RouteRow]) -> list[Route]:
    """Return the routes that a query finds, each with its machine, by id.

    Raises:
        BadValueError: one was changed by hand and is not of its shape.
    """
    keys = query.with_only_columns(col(RouteRow.machine_key))
    machines = session.exec(select(MachineRow).where(col(MachineRow.key).in_(keys)))
    by_key = {machine.key: machine for machine in machines}
    rows = session.exec(query.order_by(col(RouteRow.route_id)))
    return [route_of(row, by_key.get(row.machine_key or "")) for row in rows]


def route_of(row: RouteRow, machine: MachineRow | None) -> Route:
    """Return a row's route.

    Raises:
        BadValueError: it was changed by hand and is not of its shape.
    """
    with naming(f"route {row.route_id}"):
        return Route.model_validate(
            {**row.model_dump(), "machine": machine_of(machine) if machine else None}
        )
