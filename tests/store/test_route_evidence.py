"""What is on record of routes beside their own rows."""

from datetime import UTC, datetime

import pytest

from relight.domain.liveness import Liveness
from relight.domain.route_state import RouteEvidence
from relight.store import bad_rows
from relight.store.store import Store
from tests.store.databases import MigratedStore
from tests.store.fleets import failing, run_on, serve
from tests.store.sql import execute

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)


def silent(key: str, *, answered_at: datetime | None = None) -> Liveness:
    return Liveness(machine_key=key, answers=False, since=AT, answered_at=answered_at)


def test_a_route_of_which_nothing_is_on_record_is_left_out(store: Store):
    serve(store, "r-1")
    store.liveness.record([Liveness(machine_key="r-1-g1", answers=True, since=AT)])
    assert store.route_evidence.all() == {}


def test_silence_absence_and_the_first_fault_since_the_proof_are_found(store: Store):
    for route_id in ("r-1", "r-2", "r-3"):
        serve(store, route_id)
    store.liveness.record([silent("r-1-g1", answered_at=AT)])
    store.remediations.record_gone_since("r-2", AT)
    for _ in range(2):
        store.routes.record_fault(failing("r-3", key="r-3-g1"), run_on("r-3").activity())
    first, _ = store.events.list(route_id="r-3", kind="fault-recorded")
    assert store.route_evidence.all() == {
        "r-1": RouteEvidence(silent_since=AT, answered_at=AT),
        "r-2": RouteEvidence(gone_since=AT),
        "r-3": RouteEvidence(faulted_since=first.at),
    }


def test_what_was_made_invalid_by_hand_is_noted_and_the_others_are_read(
    migrated: MigratedStore, store: Store
):
    if not migrated.url.startswith("sqlite"):
        pytest.skip("PostgreSQL refuses such values")
    for route_id in ("r-1", "r-2"):
        serve(store, route_id)
    store.liveness.record([silent("r-1-g1"), silent("r-2-g1")])
    execute(migrated.url, "UPDATE machine_liveness SET since = 'x' WHERE machine_key = 'r-1-g1'")
    with bad_rows.collecting() as bad:
        assert store.route_evidence.all() == {"r-2": RouteEvidence(silent_since=AT)}
    [row] = bad
    assert (row.table, row.key) == ("machine_liveness", ("r-1-g1",))
