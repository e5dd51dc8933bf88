"""A route and a machine, read and changed by plain statements.

Every hot swap does this twice: a session with its objects would cost several times as much. The
statements are built once, so that they are compiled once.
"""

from typing import NamedTuple

from sqlalchemy import Connection, Select, Update, bindparam, select, update

from relight.store.rows import Columns, no_route
from relight.store.tables import MachineRow, RouteRow, table_of

_ROUTES, _MACHINES = table_of(RouteRow), table_of(MachineRow)

_OF_ROUTE = _ROUTES.c.route_id == bindparam("of_route")
_PAIRS = select(_ROUTES, _MACHINES).where(_OF_ROUTE)
_WITH_ITS_MACHINE = _PAIRS.outerjoin_from(
    _ROUTES, _MACHINES, _MACHINES.c.key == _ROUTES.c.machine_key
)
_WITH_MACHINE = _PAIRS.outerjoin_from(_ROUTES, _MACHINES, _MACHINES.c.key == bindparam("of_key"))

_ROUTE_COLUMNS, _MACHINE_COLUMNS = _ROUTES.c.keys(), _MACHINES.c.keys()

_CHANGE_ROUTE = update(_ROUTES).where(_OF_ROUTE)
_CHANGE_MACHINE = update(_MACHINES).where(_MACHINES.c.key == bindparam("of_key"))


class RouteAndMachine(NamedTuple):
    """The columns of a route, and of a machine; None if there is none."""

    route: Columns
    machine: Columns | None


def with_its_machine(connection: Connection, route_id: str) -> RouteAndMachine:
    """Return a route with the machine that serves it.

    Raises:
        UnknownRouteError: there is no such route.
    """
    return _one(connection, _WITH_ITS_MACHINE, {"of_route": route_id})


def with_machine(connection: Connection, route_id: str, key: str) -> RouteAndMachine:
    """Return a route, and the machine of a key, whether it serves the route or not.

    Raises:
        UnknownRouteError: there is no such route.
    """
    return _one(connection, _WITH_MACHINE, {"of_route": route_id, "of_key": key})


def change_route(connection: Connection, before: Columns, after: Columns) -> None:
    """Change columns of a route, of those that were read before."""
    _change(connection, _CHANGE_ROUTE, {"of_route": before["route_id"]}, before, after)


def change_machine(connection: Connection, before: Columns, after: Columns) -> None:
    """Change columns of a machine, of those that were read before."""
    _change(connection, _CHANGE_MACHINE, {"of_key": before["key"]}, before, after)


def _one(
    connection: Connection, query: Select[tuple[object, ...]], of: dict[str, str]
) -> RouteAndMachine:
    row = connection.execute(query, of).one_or_none()
    if row is None:
        raise no_route(of["of_route"])
    count = len(_ROUTE_COLUMNS)
    machine = dict(zip(_MACHINE_COLUMNS, row[count:], strict=True))
    route = dict(zip(_ROUTE_COLUMNS, row[:count], strict=True))
    return RouteAndMachine(route, machine if machine["key"] is not None else None)


def _change(
    connection: Connection, change: Update, of: dict[str, str], before: Columns, after: Columns
) -> None:
    changed = {name: value for name, value in after.items() if value != before[name]}
    if changed:
        connection.execute(change, {**of, **changed})
