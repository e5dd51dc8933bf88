"""The identity of the store's fleet: one row, which the migration makes."""

from sqlmodel import Session, select

from relight.domain.fleet_identity import StoreIdentity
from relight.store.database import Database
from relight.store.errors import BadValueError
from relight.store.tables import FleetRow


class FleetIdentities:
    """The fleet's id, and the Temporal namespace that the store works with."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self) -> StoreIdentity:
        """Return the identity.

        Raises:
            BadValueError: its row was deleted by hand.
        """
        with self._database.reading() as session:
            row = _row(session)
            return StoreIdentity(fleet_id=row.fleet_id, namespace_id=row.namespace_id)

    def join(self, namespace_id: str) -> None:
        """Record the Temporal namespace that the store works with from now on.

        Raises:
            BadValueError: the row was deleted by hand.
        """
        with self._database.writing() as session:
            _row(session).namespace_id = namespace_id


def _row(session: Session) -> FleetRow:
    rows = session.exec(select(FleetRow)).all()
    if len(rows) != 1:
        raise BadValueError(
            f"the table `fleet` has {len(rows)} rows, and must have the one with the fleet's id:"
            " restore it from a backup"
        )
    return rows[0]
