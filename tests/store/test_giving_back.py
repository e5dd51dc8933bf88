"""What a route claimed and is not served by goes back to its pool; and who is first to go."""

from datetime import UTC, datetime, timedelta

from relight.domain.fault.table import fault
from relight.domain.pool.pool import PoolStatus, claimable
from relight.store.store import Store
from tests.store.fleets import (
    HAND,
    machine,
    run_on,
    serve,
)
from tests.store.pools import PROOF, made_ready

FAULT = fault("machine-failed", "it came to nothing")


def claimed(store: Store, run, route_id: str = "r-1"):
    return store.pool.claim(route_id, "v0.0.73", run.activity(), claimable)


def test_a_claimed_machine_goes_back_faulted_once_and_is_no_routes_any_more(store):
    serve(store, "r-1")
    key, run = made_ready(store), run_on()
    assert claimed(store, run).machine.key == key
    giving = run.activity()
    assert store.pool.give_back("r-1", FAULT, giving) == key
    assert store.pool.give_back("r-1", FAULT, giving) == key
    [member] = store.pool.list()
    assert (member.key, member.status) == (key, PoolStatus.FAULTED)
    assert [each.key for each in store.machines.list("r-1")] == ["r-1-g1"]
    assert store.pool.give_back("r-1", FAULT, run.activity()) is None


def test_what_serves_a_route_or_was_made_for_it_stays_there(store):
    serve(store, "r-1")
    key, run = made_ready(store), run_on()
    claimed(store, run)
    store.replacements.attach("r-1", machine(key), PROOF, run.activity())
    assert store.pool.give_back("r-1", FAULT, run.activity()) is None
    store.replacements.plan("r-1", run.activity())
    assert store.pool.give_back("r-1", FAULT, run.activity()) is None


def test_another_runs_claim_is_not_given_back(store):
    serve(store, "r-1")
    made_ready(store)
    claimed(store, run_on())
    assert store.pool.give_back("r-1", FAULT, run_on().activity()) is None


def test_only_what_began_before_is_ahead_of_a_machines_end(store):
    for route_id in ("r-1", "r-2"):
        serve(store, route_id)
        key, run = made_ready(store), run_on(route_id)
        claimed(store, run, route_id)
        store.replacements.attach(route_id, machine(key), PROOF, run.activity())
    since = datetime.now(UTC) - timedelta(hours=1)
    assert store.destructions.ahead_of("r-1-g1", since) == []
    assert len(store.destructions.ahead_of("r-2-g1", since)) == 1
    assert len(store.destructions.ahead_of("nobodys", since)) == 2
    store.destructions.record("r-1-g1", HAND, reason="it is old")
    assert len(store.destructions.ahead_of("r-2-g1", since)) == 1
