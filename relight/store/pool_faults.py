"""Recent faults of pool machines, as their events tell them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from datetime import UTC, datetime, timedelta

from sqlmodel import Session, col, func, select

from relight.domain.route_history import ObservedFault
from relight.store.events import not_later
from relight.store.remediations import BROKE_DURING_OPERATION
from relight.store.tables import EventRow

POOL_MACHINE_READY, POOL_MACHINE_FAULTED = "pool-machine-ready", "pool-machine-faulted"

FAULTS_FOR = timedelta(hours=24)
"""How long a fault of a pool machine is read."""


def faults_of(session: Session, keys: Set[str]) -> Mapping[str, Sequence[ObservedFault]]:
    """Return the faults of pool machines since their last proofs, by key.

    What came before a proof is told by the order of the events: their times may be wrong.
    """
    now = datetime.now(UTC)
    rows = session.exec(
        select(EventRow).where(
            EventRow.kind == POOL_MACHINE_FAULTED, EventRow.at >= now - FAULTS_FOR
        )
    ).all()
    faulted = {row.machine_key for row in rows if row.machine_key is not None}
    proven = _last_proofs(session, faulted & keys)
    found = defaultdict[str, list[ObservedFault]](list)
    for row in rows:
        key, kind = row.machine_key, row.fault_kind
        if key is None or key not in keys or kind is None:
            continue
        if row.event_id is not None and row.event_id > proven.get(key, 0):
            at, fresh = not_later(session, row, now), kind not in BROKE_DURING_OPERATION
            found[key].append(ObservedFault(at=at, kind=kind, machine_key=key, fresh=fresh))
    return found


def _last_proofs(session: Session, keys: Set[str]) -> Mapping[str, int]:
    """Return the id of the event of each machine's last proof in the pool."""
    query = (
        select(EventRow.machine_key, func.max(EventRow.event_id))
        .where(EventRow.kind == POOL_MACHINE_READY, col(EventRow.machine_key).in_(keys))
        .group_by(col(EventRow.machine_key))
    )
    return {key: at for key, at in session.exec(query) if key and at}
