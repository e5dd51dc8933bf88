"""Values are checked on their way in and out: an operator may have changed one by SQL."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Select
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from relight.domain.machine import Machine, MachineStatus
from relight.domain.names import RouteId, TrackName
from relight.domain.route import Route, RouteStatus
from relight.store.errors import BadValueError
from relight.store.tables import MachineRow, RouteRow


@contextmanager
def naming(what: str) -> Iterator[None]:
    """Turn a value that is not of its shape into an error that says whose it is.

    Raises:
        BadValueError: the body met such a value.
    """
    try:
        yield
    except ValidationError as error:
        raise BadValueError(f"{what}: {_problems(error)}") from error


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


_ROWS_AT_ONCE = 1000
"""How many rows of a long answer are in memory before they are read as what they mean."""


class RouteBrief(NamedTuple):
    """What of a route decides which wave of a rollout it is in: a whole fleet of these is small.

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
"""The query for all briefs, to be narrowed."""


def briefs(session: Session, query: Select[Any]) -> list[RouteBrief]:
    """Return what a narrowed `BRIEF` finds, in no order.

    Raises:
        BadValueError: a route was changed by hand and is not of its shape.
    """
    in_parts = query.execution_options(yield_per=_ROWS_AT_ONCE)
    with session.connection().execute(in_parts) as rows:
        return [_brief_of(row) for row in rows]


def _brief_of(row: Any) -> RouteBrief:
    with naming(f"route {row.route_id}"):
        brief = _AS_BRIEF.validate_python(row._asdict())
    # Ten thousand routes have a handful of places: each name of one is kept once.
    return brief._replace(
        track=sys.intern(brief.track),
        provider=sys.intern(brief.provider),
        region=sys.intern(brief.region),
        architecture=sys.intern(brief.architecture) if brief.architecture else None,
    )


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


def machine_of(row: MachineRow) -> Machine:
    """Return the machine that serves a route."""
    with naming(f"machine {row.key}"):
        return Machine.model_validate({**row.model_dump(), "status": MachineStatus.RUNNING})


# MERGEDOC """Rows read as messages."""
