"""The record of machines in a real store: planned, running, destroyed, each with its time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devkit.chaos.operations import ORIGIN
from relight.domain.machine import Machine
from relight.store.database import Database, parse_url
from relight.store.events import Operation, write
from relight.store.machines import MachineRecord, mark_destroyed, plan_machine, record_observed
from relight.store.store import Store
from relight.store.tables import MachineRow

_OPERATION = Operation(origin=ORIGIN)


class MachineRecords:
    """The machines of one run. Calls block: use `in_thread`."""

    def __init__(self, database: Database, store: Store) -> None:
        self._database = database
        self._store = store

    def plan(self, key: str, provider: str, region: str) -> None:
        """Record a key before anything is requested."""
        with write(self._database, _OPERATION, "machine-planned") as w:
            w.session.add(plan_machine(w, key, provider, region))

    def observe(self, machine: Machine) -> None:
        """Record a machine that a provider has."""
        with write(self._database, _OPERATION, "machine-observed") as w:
            record_observed(w.session.get_one(MachineRow, machine.key), machine)

    def destroyed(self, key: str) -> None:
        """Record that a machine does not exist, from now on."""
        with write(self._database, _OPERATION, "machine-destroyed") as w:
            mark_destroyed(w.session.get_one(MachineRow, key), w.at)

    def all(self) -> list[MachineRecord]:
        """Return every record."""
        return self._store.machines.list()


@contextmanager
def opened_records(folder: Path) -> Iterator[MachineRecords]:
    """Make a new store in a folder."""
    url = f"sqlite:///{folder / 'store.db'}"
    store, database = Store.open(url), Database(parse_url(url))
    store.upgrade()
    try:
        yield MachineRecords(database, store)
    finally:
        database.close()
        store.close()
