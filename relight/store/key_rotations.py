"""Rotations of keys: how far each is, and what is proven of each machine.

Each phase is an event. What a machine has is none: it is deleted when the rotation is finished.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

from pydantic import AwareDatetime
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, delete, func, select, update

from relight.domain.base import Message
from relight.domain.fault.fault import Fault
from relight.domain.key_rotation import (
    MAX_NAMED,
    KeyKind,
    KeyRotation,
    KeyRotations,
    KeyStanding,
    MachineKeyState,
    MachineToVisit,
    MachineVisited,
    RotateKeysInput,
    RotationPhase,
    WaitingMachine,
    next_phase,
    required_states,
)
from relight.domain.machine import Machine
from relight.store.bad_rows import read_good, read_or_note
from relight.store.database import Database
from relight.store.errors import RotationBusyError, UnknownMachineError
from relight.store.events import Operation, write
from relight.store.key_tables import KeyRotationRow, MachineKeyRow
from relight.store.rows import machine_of, read_row
from relight.store.tables import MachineRow, PoolMachineRow, RecordStatus, RouteRow

ROTATION_BEGUN = "key-rotation-begun"
ROTATION_ADVANCED = "key-rotation-advanced"
MACHINES_LEFT = "key-rotation-left-machines"

_CONCERNED = (
    RecordStatus.PLANNED,
    RecordStatus.RUNNING,
    RecordStatus.DRAINING,
    RecordStatus.KEPT,
)
"""Machines that exist, or may exist soon. `_concerned` has lost ones too, which may come back."""


class _MachineKeys(Message):
    """The columns of a machine's row."""

    kind: KeyKind
    machine_key: str
    state: MachineKeyState | None
    visited_at: AwareDatetime | None
    fault: Fault | None
    left: bool


class KeyRotationStore:
    """The newest rotation of each kind."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> KeyRotations:
        """Return the newest rotation of each kind that has one. Invalid rows are left out."""
        with self._database.reading() as session:
            found = read_good(session.exec(select(KeyRotationRow)), rotation_of)
        return {each.kind: each for each in found}

    def begin(self, input: RotateKeysInput, operation: Operation) -> KeyStanding:
        """Begin a rotation, or return how far it is if it was begun before.

        Raises:
            RotationBusyError: the rotation to another key is not finished.
        """
        with write(self._database, operation, ROTATION_BEGUN) as w:
            row, old = w.session.get(KeyRotationRow, input.kind), input.old.public
            if row is not None:
                known = rotation_of(row)
                if known.new.fingerprint == input.new.fingerprint:
                    return _standing(w.session, known)
                if not known.is_finished:
                    if not input.start_over:
                        raise RotationBusyError(
                            f"the rotation of the {input.kind} key to {known.new.fingerprint} is"
                            " not finished: `relight keys status` shows it"
                        )
                    # Machines may have the lost key too: it is taken away with the old one.
                    old = "\n".join(filter(None, dict.fromkeys([old, *_publics(known)])))
                    nothing_proven = {"state": None, "visited_at": None, "fault": None}
                    w.session.exec(
                        update(MachineKeyRow).where(_kind_is(input.kind)).values(nothing_proven)
                    )
            row = KeyRotationRow(
                kind=input.kind,
                old_fingerprint=input.old.fingerprint,
                old_public=old,
                new_fingerprint=input.new.fingerprint,
                new_public=input.new.public,
                phase=RotationPhase.ADDING,
                began_at=w.at,
                phase_since=w.at,
            )
            w.session.merge(row)
            w.log(detail=input.model_dump(mode="json", exclude={"origin"}))
            w.session.flush()
            return _standing(w.session, rotation_of(row))

    def to_visit(self, rotation: KeyRotation, after: str, limit: int) -> list[MachineToVisit]:
        """Return the next machines that are not as the rotation's phase requires, by their keys.

        Args:
            rotation: as on record.
            after: the key of the last one before them.
            limit: how many at most.
        """
        query = (
            select(MachineRow, MachineKeyRow.state)
            .outerjoin(MachineKeyRow, _of(rotation.kind))
            .where(_concerned(), ~_as_required(rotation), col(MachineRow.key) > after)
            .order_by(col(MachineRow.key))
            .limit(limit)
        )
        with self._database.reading() as session:
            return [_to_visit(row, state) for row, state in session.exec(query)]

    def record(self, rotation: KeyRotation, visited: Sequence[MachineVisited]) -> None:
        """Record what is proven of machines, unless it is another rotation's turn by now."""
        with self._database.writing() as session:
            row = session.get(KeyRotationRow, rotation.kind)
            if row is None or row.new_fingerprint != rotation.new.fingerprint:
                return
            if row.phase == RotationPhase.FINISHED:
                return
            for each in visited:
                if session.get(MachineRow, each.machine_key) is None:
                    continue  # Its record was deleted meanwhile.
                known = session.get(MachineKeyRow, (rotation.kind, each.machine_key))
                known = known or MachineKeyRow(kind=rotation.kind, machine_key=each.machine_key)
                known.state = each.state
                known.visited_at = datetime.now(UTC)
                known.fault = each.fault.model_dump(mode="json") if each.fault else None
                session.add(known)

    def leave(self, kind: KeyKind, machine_keys: Sequence[str], operation: Operation) -> None:
        """Record that a rotation may go on without machines, by a person's word.

        Raises:
            UnknownMachineError: there is no such machine on record.
        """
        with write(self._database, operation, MACHINES_LEFT) as w:
            for key in machine_keys:
                if w.session.get(MachineRow, key) is None:
                    raise UnknownMachineError(f"there is no machine {key} on record")
                row = w.session.get(MachineKeyRow, (kind, key))
                row = row or MachineKeyRow(kind=kind, machine_key=key)
                row.left = True
                w.session.add(row)
            w.log(detail={"kind": kind, "machines": list(machine_keys)})

    def advance(self, kind: KeyKind, operation: Operation) -> KeyStanding:
        """Begin the next phase if the present one waits for no machine; return how far it is.

        A machine that is put on record later is made with the keys of the new phase.

        Raises:
            BadValueError: the rotation was changed by hand and is invalid.
        """
        with write(self._database, operation, ROTATION_ADVANCED) as w:
            row = w.session.get(KeyRotationRow, kind)
            assert row is not None, "a rotation is begun before it advances"
            standing = _standing(w.session, rotation_of(row))
            phase = next_phase(standing)
            if phase is standing.rotation.phase or w.earlier:
                return standing
            row.phase, row.phase_since = phase, w.at
            w.session.add(row)
            w.log(detail={"kind": kind, "phase": phase, "machines": standing.machines})
            if phase is RotationPhase.FINISHED:
                w.session.exec(delete(MachineKeyRow).where(_kind_is(kind)))
            w.session.flush()
            return _standing(w.session, rotation_of(row))

    def standing(self, kind: KeyKind, limit: int = MAX_NAMED) -> KeyStanding | None:
        """Return how far a rotation is; None if there was none.

        Args:
            kind: of the key.
            limit: how many waiting machines are named.

        Raises:
            BadValueError: the rotation was changed by hand and is invalid.
        """
        with self._database.reading() as session:
            row = session.get(KeyRotationRow, kind)
            return _standing(session, rotation_of(row), limit) if row else None


def rotation_of(row: KeyRotationRow) -> KeyRotation:
    """Return a row's rotation."""
    return read_row(
        KeyRotation,
        row,
        f"the rotation of the {row.kind} key",
        old={"fingerprint": row.old_fingerprint, "public": row.old_public},
        new={"fingerprint": row.new_fingerprint, "public": row.new_public},
    )


def machine_keys_of(row: MachineKeyRow) -> _MachineKeys:
    """Return what a row says."""
    return read_row(_MachineKeys, row, f"the {row.kind} key of machine {row.machine_key}")


def _of(kind: KeyKind) -> Any:
    """Return the condition of the join: the machine's row of this kind."""
    return (col(MachineKeyRow.machine_key) == col(MachineRow.key)) & (
        col(MachineKeyRow.kind) == kind
    )


def _kind_is(kind: KeyKind) -> Any:
    return col(MachineKeyRow.kind) == kind


def _publics(rotation: KeyRotation) -> list[str]:
    return [*rotation.old.public.splitlines(), rotation.new.public]


def _concerned() -> Any:
    """Return the condition of machines that need the new key.

    A lost machine that comes back while it serves a route or is in a pool is used again.
    """
    serves = col(MachineRow.key).in_(select(RouteRow.machine_key))
    in_pool = col(MachineRow.key).in_(select(PoolMachineRow.key))
    lost = col(MachineRow.status) == RecordStatus.LOST
    return col(MachineRow.status).in_(_CONCERNED) | (lost & (serves | in_pool))


def _as_required(rotation: KeyRotation) -> Any:
    states = sorted(required_states(rotation.kind, rotation.phase))
    return func.coalesce(MachineKeyRow.state, "").in_(states)


def _to_visit(row: MachineRow, state: str | None) -> MachineToVisit:
    machine: Machine | None = None
    if row.address is not None and row.provider_id is not None:
        machine = read_or_note(row, machine_of)
    known = next((each for each in MachineKeyState if each == state), None)
    return MachineToVisit(machine_key=row.key, machine=machine, state=known)


def _standing(session: Session, rotation: KeyRotation, limit: int = MAX_NAMED) -> KeyStanding:
    counts = select_columns(
        func.count(),
        func.count().filter(col(MachineKeyRow.state) == MachineKeyState.ADDED),
        func.count().filter(col(MachineKeyRow.state) == MachineKeyState.DONE),
        func.count().filter(~_as_required(rotation)),
        func.count().filter(~_as_required(rotation), col(MachineKeyRow.left).is_(True)),
    )
    counted = counts.select_from(MachineRow).outerjoin(MachineKeyRow, _of(rotation.kind))
    row = session.connection().execute(counted.where(_concerned())).one()
    machines, added, done, waiting, left = (cast("int", each) for each in row)
    if rotation.is_finished:
        return KeyStanding(rotation=rotation, machines=machines, added=0, done=machines)
    query = (
        select(MachineRow, MachineKeyRow)
        .outerjoin(MachineKeyRow, _of(rotation.kind))
        .where(_concerned(), ~_as_required(rotation))
        .order_by(
            # First those that block it.
            func.coalesce(MachineKeyRow.left, False),
            col(MachineRow.key),
        )
        .limit(limit)
    )
    return KeyStanding(
        rotation=rotation,
        machines=machines,
        added=added,
        done=done,
        waiting=tuple(_waiting(*each) for each in session.exec(query)),
        waiting_count=waiting,
        left_count=left,
    )


def _waiting(machine: MachineRow, row: MachineKeyRow | None) -> WaitingMachine:
    known = read_or_note(row, machine_keys_of) if row is not None else None
    reason = "it was not visited yet"
    if machine.status == RecordStatus.LOST:
        reason = "its provider does not list it"
    elif machine.address is None:
        reason = "it is being created: it has no address yet"
    elif known is not None and known.fault is not None:
        reason = known.fault.summary
    return WaitingMachine(
        machine_key=machine.key,
        route_id=machine.route_id,
        reason=reason,
        failed=known is not None and known.fault is not None,
        left=bool(row is not None and row.left),
    )
