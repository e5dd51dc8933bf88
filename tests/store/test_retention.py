"""What a prune deletes, and what stays however old it is."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from relight.domain.hold import Hold, HoldKind
from relight.domain.rollout.rollout import RolloutPhase
from relight.store import retention
from tests.store.fleets import (
    MANUAL,
    closing_rollout,
    opening_rollout,
    plan_rollout,
    proving,
    replace_machine,
    rollout_run,
    run_on,
    serve,
    statuses,
)
from tests.store.pools import made_ready
from tests.store.sql import DATABASE_ERRORS, execute


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH_SIZE", 3)


def prove(store, tag: str, route_id: str = "r-1") -> None:
    store.routes.record_proof(proving(route_id, tag), run_on(route_id).activity())


def kinds(store) -> Counter[str]:
    return Counter(event.kind for event in store.events.list())


def now() -> datetime:
    return datetime.now(UTC)


def test_each_routes_last_proof_and_the_one_before_at_another_release_stay(store):
    serve(store)
    serve(store, "r-2")
    for tag in ("v0.0.72", "v0.0.73", "v0.0.74", "v0.0.74"):
        prove(store, tag)
    pruned = store.retention.prune(now(), MANUAL)
    assert pruned.events > 3
    assert store.routes.proven_tags("r-1") == ["v0.0.73", "v0.0.74"]
    assert store.routes.proven_tags("r-2") == ["v0.0.73"]


def test_the_machines_of_a_route_stay_and_those_of_a_pool_go(store):
    serve(store)
    replace_machine(store)
    store.destructions.record("r-1-g1", MANUAL, reason="it was replaced")
    key = made_ready(store)
    store.destructions.record(key, MANUAL, reason="it was recycled")
    alive = made_ready(store)
    assert store.retention.prune(now(), MANUAL).machines == 1
    assert statuses(store) == [("r-1-g1", "destroyed"), ("r-1-g2", "running")]
    assert (store.machines.get(key), store.machines.get(alive) is None) == (None, False)


def test_declarations_that_hold_stay(store):
    for tag in ("v0.0.72", "v0.0.73"):
        store.fleet_settings.set("default_release_tag", tag, MANUAL)
        store.tracks.set("pinned", tag, MANUAL)
    before = store.declarations.times()
    store.retention.prune(now(), MANUAL)
    assert store.declarations.times() == before
    assert set(before) == {"fleet", "track:pinned"}


def test_closed_rollouts_go_with_their_routes_but_for_the_last_of_each_scope(store):
    serve(store)
    serve(store, "r-2")
    runs = []
    for _ in range(3):
        runs.append(plan_rollout(store, ["r-1", "r-2"]))
        store.rollouts.close(closing_rollout(promote=False), runs[-1].activity())
    opened = rollout_run(scope="track:pinned")
    store.rollouts.open(opening_rollout(scope="track:pinned"), opened.activity())
    assert store.retention.prune(now(), MANUAL).rollouts == 2
    assert [each.run_id for each in store.rollouts.list()] == [runs[-1].run_id, opened.run_id]
    assert [len(store.rollout_routes.list(run.run_id)) for run in runs] == [0, 0, 2]


def test_holds_that_have_ended_go(store):
    at = now()
    for ends_in in (timedelta(hours=-1), timedelta(hours=1)):
        hold = Hold(
            kind=HoldKind.FREEZE,
            starts_at=at - timedelta(hours=2),
            ends_at=at + ends_in,
            owner="ann",
            reason="elections",
        )
        store.freezes.add(hold, MANUAL)
    assert store.retention.prune(at, MANUAL).holds == 1
    assert [each.ends_at > at for each in store.freezes.list()] == [True]


def test_what_is_younger_than_the_retention_stays(store):
    serve(store)
    then = now()
    store.rollouts.close(closing_rollout(), plan_rollout(store, ["r-1"]).activity())
    prove(store, "v0.0.74")
    young = [event for event in store.events.list() if event.at >= then]
    store.retention.prune(then, MANUAL)
    kept = [event for event in store.events.list() if event.at >= then]
    assert kept[: len(young)] == young
    assert len(young) >= 3


def test_a_preview_counts_what_a_prune_deletes_and_deletes_nothing(store):
    serve(store)
    for _ in range(10):
        prove(store, "v0.0.74")
    before, at = kinds(store), now()
    preview = store.retention.preview(at)
    assert kinds(store) == before
    assert store.retention.prune(at, MANUAL) == preview
    assert sum(before.values()) - preview.events == sum(kinds(store).values()) - 1
    assert kinds(store)["store-pruned"] == 1
    assert store.retention.preview(at).events == 0


def test_a_prune_that_was_cut_short_continues(store):
    serve(store)
    for _ in range(10):
        prove(store, "v0.0.74")
    at = now()
    batches: list[None] = []

    def stop() -> None:
        batches.append(None)
        if len(batches) == 2:
            raise KeyboardInterrupt

    whole = store.retention.preview(at).events
    with pytest.raises(KeyboardInterrupt):
        store.retention.prune(at, MANUAL, stop)
    left = store.retention.preview(at).events
    assert 0 < left < whole
    assert store.retention.prune(at, MANUAL).events == left


def test_the_database_refuses_to_delete_events_that_are_kept(store, store_url):
    serve(store)
    at = now()
    store.retention.prune(at, MANUAL)
    assert store.retention.pruned_before() == at
    prove(store, "v0.0.74")
    with pytest.raises(DATABASE_ERRORS, match="append-only"):
        execute(store_url, "DELETE FROM events")
    with pytest.raises(DATABASE_ERRORS, match="append-only"):
        execute(store_url, "UPDATE events SET kind = 'other'")
    # An earlier instant does not take back what was admitted.
    store.retention.prune(at - timedelta(days=1), MANUAL)
    assert store.retention.pruned_before() == at


def test_a_reconcile_run_reads_the_open_rollouts_and_the_last_of_each_scope(store):
    for _ in range(5):
        run = rollout_run()
        store.rollouts.open(opening_rollout(), run.activity())
        store.rollouts.close(closing_rollout(phase=RolloutPhase.STOPPED), run.activity())
    last, opened, other = run, rollout_run(), rollout_run(scope="track:pinned")
    store.rollouts.open(opening_rollout(), opened.activity())
    store.rollouts.open(opening_rollout(scope="track:pinned"), other.activity())
    assert [each.run_id for each in store.declarations.rollouts()] == [
        last.run_id,
        opened.run_id,
        other.run_id,
    ]
