"""Read rows as the domain's models."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError
from sqlalchemy import Select
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from relight.domain.machine import Machine, MachineStatus
from relight.domain.names import RouteId, TrackName
from relight.domain.route import Route, RouteStatus
from relight.store.bad_rows import BadRow, note_bad, read_or_note
from relight.store.errors import (
    BadValueError,
    UnknownMachineError,
    UnknownRouteError,
    WrongMachineError,
)
from relight.store.tables import MachineRow, RecordStatus, RouteRow, Row

M = TypeVar("M", bound=BaseModel)

Columns = Mapping[str, Any]
"""The columns of a row by name, as plain statements read and write them."""

_BATCH_SIZE = 1000
"""Rows of a long result that are in memory before they are converted."""


class RouteBrief(NamedTuple):
    """The part of a route that decides its wave in a rollout; small, for a whole fleet.

    Attributes:
        architecture: its machine's, by Debian's name.
    """

    route_id: RouteId
    track: TrackName
    provider: str
    region: str
    status: RouteStatus
    architecture: str | None


_AS_BRIEF = TypeAdapter(RouteBrief)

BRIEF: Select[Any] = select_columns(
    *(col(getattr(RouteRow, name)) for name in RouteBrief._fields[:-1]),
    col(MachineRow.architecture),
).outerjoin(MachineRow, col(MachineRow.key) == col(RouteRow.machine_key))
"""The query for the briefs of all routes, to be narrowed."""


@contextmanager
def validating(what: str) -> Iterator[None]:
    """Turn a pydantic validation error into one that names the record.

    Values are validated on the way in and on the way out: an operator may have changed one by SQL.

    Raises:
        BadValueError: the body raised a validation error.
    """
    try:
        yield
    except ValidationError as error:
        raise BadValueError(f"{what}: {_problems(error)}") from error


def read_row(model: type[M], row: Row, what: str, **changes: Any) -> M:
    """Return a row as a model.

    Args:
        model: its fields have the names of the columns.
        row: the row.
        what: names the record in an error.
        changes: fields that no column has, or that have another value than the column.

    Raises:
        BadValueError: a value is invalid: it was changed by hand.
    """
    return _read(model, row.model_dump(warnings=False), what, **changes)


def _read(model: type[M], columns: Columns, what: str, **changes: Any) -> M:
    with validating(what):
        return model.model_validate({**columns, **changes})


def time_or_none(value: object) -> datetime | None:
    """Return a time that was read beside a row of another table; None if it is no time.

    It was changed by hand, and is the fault of its own row: whoever reads that row names it.
    """
    return value if isinstance(value, datetime) else None


def require_route(session: Session, route_id: str) -> RouteRow:
    """Return the row of a route.

    Raises:
        UnknownRouteError: there is no such route.
    """
    row = session.get(RouteRow, route_id)
    if row is None:
        raise no_route(route_id)
    return row


def no_route(route_id: str) -> UnknownRouteError:
    """Return the error that there is no such route."""
    return UnknownRouteError(f"there is no route {route_id}")


def require_machine(session: Session, key: str) -> MachineRow:
    """Return the row of a machine.

    Raises:
        UnknownMachineError: no machine was planned under this key.
    """
    row = session.get(MachineRow, key)
    if row is None:
        raise no_machine(key)
    return row


def no_machine(key: str) -> UnknownMachineError:
    """Return the error that no machine was planned under a key."""
    return UnknownMachineError(f"no machine was planned under the key {key}")


def require_alive(session: Session, key: str) -> MachineRow:
    """Return the row of a machine that is not destroyed.

    An attempt that timed out may still write after its operation was undone. It must not change a
    destroyed machine back.

    Raises:
        UnknownMachineError: no machine was planned under this key.
        WrongMachineError: the machine is destroyed.
    """
    row = require_machine(session, key)
    refuse_destroyed(key, row.status)
    return row


def refuse_destroyed(key: str, status: str) -> None:
    """Refuse to change a machine that is destroyed on record.

    Raises:
        WrongMachineError: it is.
    """
    if status == RecordStatus.DESTROYED:
        raise WrongMachineError(f"machine {key} is destroyed: its record does not change any more")


def route_of(row: RouteRow, machine: MachineRow | None) -> Route:
    """Return a route with the machine that serves it.

    Raises:
        BadValueError: a value is invalid.
    """
    served_by = machine.model_dump(warnings=False) if machine else None
    return route_from(row.model_dump(warnings=False), served_by)


def route_from(columns: Columns, machine: Columns | None) -> Route:
    """Return a route as `route_of` does, of the columns of its row and of its machine's."""
    served_by = _machine_from(machine) if machine else None
    return _read(Route, columns, f"route {columns['route_id']}", machine=served_by)


def machine_of(row: MachineRow) -> Machine:
    """Return a machine that exists at its provider.

    Raises:
        BadValueError: a value is invalid.
    """
    return _machine_from(row.model_dump(warnings=False))


def _machine_from(columns: Columns) -> Machine:
    return _read(Machine, columns, f"machine {columns['key']}", status=MachineStatus.RUNNING)


def routes_with_machines(session: Session, query: SelectOfScalar[RouteRow]) -> list[Route]:
    """Return the routes that a query finds, each with its machine, ordered by id.

    A route that is invalid, or whose machine is, is noted and left out.
    """
    keys = query.with_only_columns(col(RouteRow.machine_key))
    machines = session.exec(select(MachineRow).where(col(MachineRow.key).in_(keys)))
    by_key = {machine.key: machine for machine in machines}
    rows = session.exec(query.order_by(col(RouteRow.route_id)))
    found = (_route_or_note(row, by_key.get(row.machine_key or "")) for row in rows)
    return [route for route in found if route is not None]


def _route_or_note(row: RouteRow, machine_row: MachineRow | None) -> Route | None:
    machine = read_or_note(machine_row, machine_of) if machine_row else None
    if machine_row is not None and machine is None:
        return None
    return read_or_note(
        row, lambda each: read_row(Route, each, f"route {each.route_id}", machine=machine)
    )


def briefs(session: Session, query: Select[Any]) -> list[RouteBrief]:
    """Return what a narrowed `BRIEF` finds, unordered. An invalid route is noted and left out."""
    in_batches = query.execution_options(yield_per=_BATCH_SIZE)
    with session.connection().execute(in_batches) as rows:
        return [brief for row in rows if (brief := _brief_or_note(row)) is not None]


def _brief_or_note(row: Any) -> RouteBrief | None:
    try:
        return _brief_of(row)
    except BadValueError as error:
        note_bad(BadRow(str(RouteRow.__tablename__), (str(row.route_id),), str(error)))
        return None


def _brief_of(row: Any) -> RouteBrief:
    with validating(f"route {row.route_id}"):
        brief = _AS_BRIEF.validate_python(row._asdict())
    # Ten thousand routes share a handful of names: each is kept in memory once.
    return brief._replace(
        track=sys.intern(brief.track),
        provider=sys.intern(brief.provider),
        region=sys.intern(brief.region),
        architecture=sys.intern(brief.architecture) if brief.architecture else None,
    )


def _problems(error: ValidationError) -> str:
    return "; ".join(
        " ".join(
            (
                ".".join(str(part) for part in problem["loc"]) or "value",
                f"is {problem['input']!r}:",
                problem["msg"],
            )
        )
        for problem in error.errors(include_url=False, include_context=False)
    )
