"""What is on record of routes beside their own rows, by which their state now is decided."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from sqlalchemy import func
from sqlalchemy import select as select_columns
from sqlmodel import col, or_

from relight.domain.names import RouteId
from relight.domain.route import RouteStatus
from relight.domain.route_state import RouteEvidence
from relight.store.bad_rows import BadRow, note_bad
from relight.store.database import Database
from relight.store.errors import BadValueError
from relight.store.rows import validating
from relight.store.tables import EventRow, LivenessRow, RouteRemediationRow, RouteRow, Row

_SILENT: Any = (
    select_columns(
        col(RouteRow.route_id),
        col(LivenessRow.machine_key).label("key"),
        col(LivenessRow.since).label("silent_since"),
        col(LivenessRow.answered_at),
    )
    .join(LivenessRow, col(LivenessRow.machine_key) == col(RouteRow.machine_key))
    .where(col(LivenessRow.answers).is_(False))
)
_GONE: Any = select_columns(
    col(RouteRemediationRow.route_id),
    col(RouteRemediationRow.route_id).label("key"),
    col(RouteRemediationRow.gone_since),
).where(col(RouteRemediationRow.gone_since).is_not(None))
_FAULTED: Any = (
    select_columns(
        col(EventRow.route_id),
        func.min(EventRow.event_id).label("key"),
        func.min(col(EventRow.at)).label("faulted_since"),
    )
    .join(RouteRow, col(RouteRow.route_id) == col(EventRow.route_id))
    .where(
        col(RouteRow.status).in_((RouteStatus.FAULTED, RouteStatus.FAILED)),
        col(EventRow.fault_kind).is_not(None),
        or_(col(RouteRow.proven_at).is_(None), col(EventRow.at) > col(RouteRow.proven_at)),
    )
    .group_by(col(EventRow.route_id))
)
_QUERIES: tuple[tuple[type[Row], Any], ...] = (
    (LivenessRow, _SILENT),
    (RouteRemediationRow, _GONE),
    (EventRow, _FAULTED),
)
"""Each with the table that it is about: its rows have a route, a key of that table, and what the
attributes of the evidence are."""


class RouteEvidences:
    """It reads one row for each route of which there is something, and writes nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> Mapping[RouteId, RouteEvidence]:
        """Return what is on record of each route; those of which nothing is are left out.

        What is invalid is noted and left out.
        """
        found: defaultdict[RouteId, dict[str, Any]] = defaultdict(dict)
        with self._database.reading() as session:
            for table, query in _QUERIES:
                for row in session.connection().execute(query):
                    values = row._asdict()
                    route_id, key = values.pop("route_id"), values.pop("key")
                    if _is_valid(table, str(key), values):
                        found[route_id] |= values
        return {route_id: RouteEvidence(**values) for route_id, values in found.items()}


def _is_valid(table: type[Row], key: str, values: Mapping[str, Any]) -> bool:
    """Return whether values are as in `RouteEvidence`; note the row if they are not."""
    name = str(table.__tablename__)
    try:
        with validating(f"{name} {key}"):
            RouteEvidence.model_validate(values)
    except BadValueError as error:
        note_bad(BadRow(name, (key,), str(error)))
        return False
    return True
