"""The liveness of machines in the store."""

from datetime import UTC, datetime, timedelta

from relight.domain.liveness import Liveness, LivenessCheck
from tests.store.fleets import (
    MANUAL,
    machine,
    proving,
    replace_machine,
    run_on,
    serve,
)
from tests.store.pools import made_ready, planned
from tests.store.sql import execute

NOW = datetime(2026, 3, 1, 13, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def silent(key: str, ago: timedelta = MINUTE) -> Liveness:
    return Liveness(machine_key=key, answers=False, since=NOW - ago, answered_at=NOW - 2 * ago)


def answering(key: str) -> Liveness:
    return Liveness(machine_key=key, answers=True, since=NOW, answered_at=NOW)


def probed(store, after: str = "", limit: int = 10) -> list[str]:
    return [each.key for each in store.liveness.page(after, limit)]


def test_machines_of_routes_and_of_the_pool_are_probed_page_by_page(store):
    for number in (3, 1, 2):
        serve(store, f"r-{number}")
    ready = made_ready(store)
    planned(store)  # It boots: nothing is expected of it yet.
    everything = sorted([ready, "r-1-g1", "r-2-g1", "r-3-g1"])
    assert probed(store) == everything
    assert probed(store, limit=3) == everything[:3]
    assert probed(store, after=everything[2], limit=3) == everything[3:]
    assert probed(store, after=everything[3], limit=3) == []


def test_a_machine_to_probe_has_its_route_its_proof_and_its_record(store):
    serve(store)
    ready = made_ready(store)
    store.liveness.record([silent("r-1-g1"), answering(ready)])
    of_pool, of_route = store.liveness.page("", 10)
    assert (of_route.route_id, of_route.serving, of_route.address) == ("r-1", True, "192.0.2.7")
    assert of_route.proven_at == proving().proof.observed_at
    assert of_route.known == silent("r-1-g1")
    assert (of_pool.route_id, of_pool.serving, of_pool.known) == (None, False, answering(ready))


def test_only_silent_machines_are_returned_and_a_record_replaces_the_one_before(store):
    for route_id in ("r-1", "r-2"):
        serve(store, route_id)
    store.liveness.record([silent("r-1-g1"), answering("r-2-g1")])
    assert store.liveness.silent() == {"r-1-g1": silent("r-1-g1")}
    store.liveness.record([answering("r-1-g1"), silent("r-2-g1")])
    assert store.liveness.silent() == {"r-2-g1": silent("r-2-g1")}
    assert store.liveness.get("r-1-g1") == answering("r-1-g1")
    assert store.liveness.get("unheard-of") is None


def test_a_check_is_recorded_and_an_older_one_does_not_replace_it(store):
    assert store.liveness.last_check() is None
    newer = LivenessCheck(began_at=NOW, machines=7, silent=2, not_probed=1, offline="no network")
    store.liveness.record_check(newer)
    store.liveness.record_check(LivenessCheck(began_at=NOW - MINUTE, machines=1))
    assert store.liveness.last_check() == newer


def test_the_table_keeps_no_machine_that_is_probed_no_more(store):
    serve(store)
    serve(store, "r-2")
    ready = made_ready(store)
    store.liveness.record([silent("r-1-g1"), silent("r-2-g1"), silent(ready)])
    replace_machine(store)
    run = run_on("r-2")
    store.retirements.retire("r-2", run.activity())
    store.liveness.record_check(LivenessCheck(began_at=NOW))
    assert set(store.liveness.silent()) == {ready}
    assert "r-2-g1" not in probed(store)


def test_silence_is_in_the_history_of_its_route_and_in_the_pool(store):
    for route_id in ("r-1", "r-2", "r-3"):
        serve(store, route_id)
    ready = made_ready(store)
    store.liveness.record([silent("r-1-g1"), answering("r-2-g1"), silent(ready)])
    histories = store.remediations.histories(NOW - timedelta(days=1))
    assert histories["r-1"].silent_since == NOW - MINUTE
    assert histories["r-1"].answers_since is None
    assert "r-2" not in histories
    [member] = store.pool.list()
    assert member.silent_since == NOW - MINUTE
    store.remediations.request_replacement("r-2", MANUAL)
    asked = store.remediations.histories(NOW - timedelta(days=1))["r-2"]
    assert (asked.silent_since, asked.answers_since) == (None, NOW)


def test_a_bad_row_is_its_own_machines_and_the_others_are_probed(store, store_url):
    for route_id in ("r-1", "r-2"):
        serve(store, route_id)
    execute(store_url, "UPDATE routes SET status = 'nonsense' WHERE route_id = 'r-1'")
    assert probed(store) == [machine("r-1-g1").key, machine("r-2-g1").key]


def test_a_check_of_a_clock_that_was_ahead_is_followed_by_the_next_one(store):
    now = datetime.now(UTC)
    store.liveness.record_check(LivenessCheck(began_at=now + timedelta(days=300), machines=1))
    store.liveness.record_check(LivenessCheck(began_at=now, machines=2))
    store.liveness.record_check(LivenessCheck(began_at=now - MINUTE, machines=3))
    last = store.liveness.last_check()
    assert last is not None
    assert last.machines == 2
