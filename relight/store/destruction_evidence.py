"""What the records say about a machine that is to be destroyed, and what it answered."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

from sqlmodel import Session, col, or_, select

from relight.domain.destruction_gate import EVIDENCE_LASTS, Answer, DestructionEvidence
from relight.domain.fault.fault import BUDGETED_CLASSES
from relight.domain.machine import Machine, MachineAtProvider, MachineOnRecord
from relight.domain.pool.pool import PoolStatus
from relight.domain.route import RouteStatus
from relight.store.database import Database
from relight.store.events import Operation, write
from relight.store.pool_faults import POOL_MACHINE_READY
from relight.store.replacements import MACHINE_ATTACHED
from relight.store.retirements import ROUTE_RETIRED
from relight.store.routes import ROUTE_PROVEN
from relight.store.rows import machine_of, validating
from relight.store.sweeps import on_record
from relight.store.tables import (
    EventRow,
    MachineRow,
    PoolMachineRow,
    PoolSizeRow,
    RecordStatus,
    ReleaseRow,
    RouteRow,
)

MACHINE_ASKED = "machine-asked"
REMOVAL_REQUESTED = "machine-removal-requested"
MACHINE_KEPT = "machine-kept"

_PROVEN = (ROUTE_PROVEN, POOL_MACHINE_READY)
_WORDS = (ROUTE_RETIRED, MACHINE_ATTACHED, REMOVAL_REQUESTED)


class DestructionEvidences:
    """Reads the evidence, and records answers and a person's request."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record_of(self, key: str) -> MachineOnRecord | None:
        """Return the record of a machine; None without one.

        Raises:
            BadValueError: it was changed by hand and is invalid.
        """
        with self._database.reading() as session:
            return on_record(session, key)

    def get(self, found: MachineAtProvider) -> DestructionEvidence:
        """Return what the records say about a machine, as `evidence_of` does."""
        with self._database.reading() as session:
            return evidence_of(session, found, datetime.now(UTC))

    def references(self, limit: int) -> list[Machine]:
        """Return machines that serve a route, those first that were proven last."""
        query = (
            select(MachineRow)
            .join(RouteRow, col(RouteRow.machine_key) == col(MachineRow.key))
            .where(
                RouteRow.status == RouteStatus.SERVING, MachineRow.status == RecordStatus.RUNNING
            )
            .order_by(col(RouteRow.proven_at).desc(), col(MachineRow.key))
            .limit(limit)
        )
        with self._database.reading() as session:
            return [machine_of(row) for row in session.exec(query)]

    def request_removal(self, key: str, operation: Operation) -> None:
        """Record that a person wants a machine to be destroyed, whatever it answers."""
        with write(self._database, operation, REMOVAL_REQUESTED) as w:
            if not w.earlier:
                machine = w.session.get(MachineRow, key)
                route_id = machine.route_id if machine else None
                w.log(route_id=route_id, machine_key=key)

    def record_answer(self, key: str, answer: Answer, operation: Operation) -> None:
        """Record what a machine answered when it was to be destroyed."""
        with write(self._database, replace(operation, activity_id=""), MACHINE_ASKED) as w:
            w.log(machine_key=key, detail=answer.model_dump(mode="json"))


def evidence_of(session: Session, found: MachineAtProvider, now: datetime) -> DestructionEvidence:
    """Return what the records say about a machine.

    Args:
        session: in the transaction that decides, so that what is read stays true until it ends.
        found: the machine at its provider.
        now: the current time, with its time zone. Observations count for `EVIDENCE_LASTS`.

    Raises:
        BadValueError: a value was changed by hand and is invalid.
    """
    route = session.exec(select(RouteRow).where(RouteRow.machine_key == found.key)).one_or_none()
    surplus, pool_version = _of_pool(session, found.key)
    word, kept = _word_and_kept(session, found)
    with validating(f"the observations of machine {found.key}"):
        return DestructionEvidence(
            found=found,
            record=on_record(session, found.key),
            serves=route.route_id if route else None,
            word=word,
            kept=kept,
            surplus=surplus,
            pool_version=pool_version,
            answers=tuple(_answers(session, found.key, now - EVIDENCE_LASTS)),
        )


def _word_and_kept(session: Session, found: MachineAtProvider) -> tuple[str | None, str | None]:
    """Return who asked for the end of a machine: they retired or replaced it, or named it.

    And who keeps it: what was asked before does not count any more. Another machine that replaces
    it later ends that, as a later word does.
    """
    machine = session.get(MachineRow, found.key)
    query = select(EventRow).where(
        col(EventRow.kind).in_((*_WORDS, MACHINE_KEPT)),
        or_(
            EventRow.machine_key == found.key,
            EventRow.route_id == (machine.route_id if machine else None),
        ),
    )
    # A record is of one machine only. Without one, an older word was about another machine.
    if machine is None and found.created_at is not None:
        query = query.where(EventRow.at >= found.created_at)
    word: str | None = None
    kept: str | None = None
    for event in session.exec(query.order_by(col(EventRow.event_id))):
        at = f"{event.at:%Y-%m-%d %H:%M} UTC"
        if event.kind == MACHINE_KEPT and event.machine_key == found.key:
            word, kept = None, f"{event.requested_by} since {at}: {event.reason}"
        elif _is_word_for(event, found.key):
            word, kept = word or f"{event.requested_by}: {event.kind} at {at}", None
        elif event.kind == MACHINE_ATTACHED and event.detail.get("drained") == found.key:
            kept = None
    return word, kept


def _is_word_for(event: EventRow, key: str) -> bool:
    drained = event.detail.get("drained")
    if event.kind == ROUTE_RETIRED:
        return isinstance(drained, list) and key in drained
    if event.kind == MACHINE_ATTACHED:
        return drained == key and event.detail.get("requested") is True
    return event.machine_key == key


def _of_pool(session: Session, key: str) -> tuple[str | None, str | None]:
    """Return why a pool has too many machines, None if it has not; and the version on record."""
    member = session.get(PoolMachineRow, key)
    size = session.get(PoolSizeRow, (member.provider, member.region)) if member else None
    if member is None or size is None:
        return None, None
    others = session.exec(
        select(PoolMachineRow.key)
        .join(MachineRow, col(MachineRow.key) == col(PoolMachineRow.key))
        .where(
            PoolMachineRow.provider == member.provider,
            PoolMachineRow.region == member.region,
            PoolMachineRow.status == PoolStatus.READY,
            PoolMachineRow.key != key,
            MachineRow.status == RecordStatus.RUNNING,
        )
    ).all()
    if len(others) < size.size:
        return None, None
    release = session.get(ReleaseRow, member.release_tag) if member.release_tag else None
    reason = f"{len(others)} others are ready, and the pool should have {size.size}"
    return reason, release.version if release else None


def _answers(session: Session, key: str, since: datetime) -> Iterator[Answer]:
    """Yield the recorded observations of a machine since an instant."""
    recent = (EventRow.at >= since, EventRow.machine_key == key)
    observed = select(EventRow).where(col(EventRow.kind).in_((*_PROVEN, MACHINE_ASKED)), *recent)
    for event in session.exec(observed):
        if event.kind == MACHINE_ASKED:
            yield Answer.model_validate(event.detail)
        else:
            yield Answer(at=event.at)
    failed = select(EventRow).where(
        col(EventRow.fault_kind).is_not(None),
        col(EventRow.fault_class).in_(sorted(BUDGETED_CLASSES)),
        *recent,
    )
    for event in session.exec(failed):
        yield Answer(at=event.at, fault_kind=event.fault_kind)
