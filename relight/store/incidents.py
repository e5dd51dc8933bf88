"""Open incidents of the control plane itself: one row for each kind of fault."""

from collections.abc import Iterable

from pydantic import AwareDatetime
from sqlmodel import col, select

from relight.domain.base import Message
from relight.domain.fault.fault import Fault
from relight.store.bad_rows import read_good
from relight.store.database import Database
from relight.store.events import Operation, write
from relight.store.rows import read_row
from relight.store.tables import IncidentRow

INCIDENT_OPENED, INCIDENT_ENDED = "incident-opened", "incident-ended"


class Incident(Message):
    """An open incident.

    Attributes:
        kind: of its fault, in the table of faults.
        since: since when it is observed.
        summary: as last observed; one sentence for a person.
    """

    kind: str
    since: AwareDatetime
    summary: str


class Incidents:
    """Each beginning and each end is an event; what an observation repeats is none."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(self) -> list[Incident]:
        """Return the open incidents, by kind. Invalid ones are noted and left out."""
        query = select(IncidentRow).order_by(col(IncidentRow.kind))
        with self._database.reading() as session:
            return read_good(session.exec(query), _incident)

    def update(self, faults: Iterable[Fault], operation: Operation) -> None:
        """Replace the open incidents by what was observed now."""
        observed = {each.kind: each for each in faults}
        with write(self._database, operation, INCIDENT_OPENED) as w:
            if w.earlier:
                return
            known = {row.kind: row for row in w.session.exec(select(IncidentRow))}
            ended = [row for kind, row in sorted(known.items()) if kind not in observed]
            for row in ended:
                w.session.delete(row)
            if ended:
                incidents = [row.model_dump(mode="json", warnings=False) for row in ended]
                w.log(kind=INCIDENT_ENDED, detail={"incidents": incidents})
            opened = []
            for kind, found in sorted(observed.items()):
                row = known.get(kind) or IncidentRow(kind=kind, since=w.at, summary="")
                row.summary = found.summary
                w.session.add(row)
                if kind not in known:
                    opened.append(found.model_dump(mode="json"))
            if opened:
                w.log(detail={"faults": opened})


def _incident(row: IncidentRow) -> Incident:
    return read_row(Incident, row, f"incident {row.kind}")
