"""Pool machines: each is claimed by one route, and each is recorded until it is destroyed."""

from functools import partial

import pytest

from relight.domain.fault.table import fault
from relight.domain.pool.pool import PoolStatus
from relight.store.errors import (
    BadValueError,
    RouteOccupiedError,
    UnknownMachineError,
    WrongMachineError,
)
from relight.store.pool_sizes import PoolSize
from tests.store.concurrency import run_concurrently
from tests.store.fleets import (
    FAULT,
    MANUAL,
    machine,
    opening,
    run_on,
    serve,
    statuses,
)
from tests.store.pools import (
    PROOF,
    claim,
    made_ready,
    planned,
    pool_run,
)
from tests.store.sql import execute, naming

UNUSABLE = fault("machine-failed", "it did not start")


def test_a_machine_is_recorded_before_it_is_created(store):
    assert planned(store) == "pool-lab-east-1"
    [record] = store.machines.list()
    assert (record.key, record.status) == ("pool-lab-east-1", "planned")
    assert (record.route_id, record.generation) == (None, None)
    [member] = store.pool.list("lab", "east")
    assert (member.status, member.release_tag) == (PoolStatus.PREPARING, None)
    assert store.machines.last_observed("pool-lab-east-1") is None


def test_numbers_are_never_reused_and_each_region_has_its_own(store):
    assert [planned(store) for _ in range(2)] == ["pool-lab-east-1", "pool-lab-east-2"]
    assert planned(store, "east-1") == "pool-lab-east-1-1"
    store.destructions.record("pool-lab-east-2", MANUAL, reason="it did not start")
    assert [member.key for member in store.pool.list("lab", "east")] == ["pool-lab-east-1"]
    assert planned(store) == "pool-lab-east-3"


def test_a_proven_machine_is_ready_at_its_release(store):
    key = made_ready(store)
    [member] = store.pool.list("lab", "east")
    assert (member.key, member.status, member.architecture) == (key, PoolStatus.READY, "amd64")
    assert (member.release_tag, member.proven_at) == ("v0.0.73", PROOF.observed_at)
    assert store.machines.last_observed(key) == machine(key)
    assert store.pool.list("lab", "west") == []


def test_a_claimed_machine_is_the_next_generation_of_the_route_and_keeps_its_key(store):
    serve(store)
    key = made_ready(store)
    claimed = claim(store)
    assert claimed.machine == machine(key)
    assert (claimed.generation, claimed.release_tag) == (2, "v0.0.73")
    assert statuses(store) == [("r-1-g1", "running"), (key, "running")]
    assert store.pool.list() == []
    assert claim(store, activity=run_on("r-1").activity()) == claimed.model_copy(
        update={"release_tag": None, "proven_at": None}
    )


def test_a_claim_considers_release_region_and_architecture(store):
    serve(store)
    made_ready(store, tag="v0.0.72")
    best = made_ready(store, tag="v0.0.73")
    made_ready(store, region="west")
    assert claim(store, architecture="arm64") is None
    assert claim(store).machine.key == best


def test_a_claim_without_a_ready_machine_writes_nothing(store):
    serve(store)
    planned(store)
    before = store.events.list()
    assert claim(store) is None
    assert store.events.list() == before


def test_concurrent_attempts_of_a_claim_get_the_same_machine(store):
    serve(store)
    made_ready(store)
    made_ready(store)
    activity = run_on("r-1").activity()
    results = run_concurrently([partial(claim, store, "r-1", activity) for _ in range(4)])
    assert len({result.machine.key for result in results}) == 1
    assert len(store.pool.list()) == 1
    assert len(store.events.list(kind="pool-machine-claimed")) == 1


def test_retries_change_nothing(store):
    run = pool_run()
    planning, proving, moving, failing, leaving = (run.activity() for _ in range(5))
    for _ in range(2):
        key = store.pool.plan("lab", "east", "v0.0.73", planning)
        store.pool.record_ready(key, machine(key), PROOF, proving)
        assert store.pool.mark_preparing(key, moving)
        store.pool.record_fault(key, FAULT, failing)
        assert store.pool.mark_leaving(key, leaving)
    [member] = store.pool.list()
    assert (member.key, member.status) == ("pool-lab-east-1", PoolStatus.LEAVING)
    kinds = [event.kind for event in store.events.list(workflow_id=run.workflow_id)]
    assert kinds == [
        f"pool-machine-{what}" for what in ("planned", "ready", "preparing", "faulted", "leaving")
    ]


def test_concurrent_claims_of_routes_get_different_machines(store):
    routes = [f"r-{number}" for number in range(1, 7)]
    for route_id in routes:
        serve(store, route_id)
    keys = {made_ready(store) for _ in range(4)}
    results = run_concurrently([partial(claim, store, route_id) for route_id in routes])
    given = [result.machine.key for result in results if result is not None]
    assert sorted(given) == sorted(keys)


def test_of_a_claim_and_a_concurrent_removal_one_wins(store):
    serve(store)
    for _ in range(5):
        key = made_ready(store)
        route = run_on("r-1")
        leaves = partial(store.pool.mark_leaving, key, pool_run().activity())
        claimed, left = run_concurrently([partial(claim, store, "r-1", route.activity()), leaves])
        assert (claimed is None) == left
        store.destructions.record(key, route.activity(), reason="the next one")


def test_a_machine_that_leaves_or_is_prepared_is_not_claimed(store):
    serve(store)
    leaving, swapped = made_ready(store), made_ready(store)
    assert store.pool.mark_leaving(leaving, MANUAL)
    assert store.pool.mark_preparing(swapped, MANUAL)
    assert not store.pool.mark_preparing(leaving, MANUAL)
    assert claim(store) is None
    store.pool.record_ready(swapped, machine(swapped), PROOF, MANUAL)
    assert claim(store).machine.key == swapped
    assert not store.pool.mark_leaving(swapped, MANUAL)
    with pytest.raises(WrongMachineError, match="it leaves the pool"):
        store.pool.record_ready(leaving, machine(leaving), PROOF, MANUAL)
    with pytest.raises(WrongMachineError, match="r-1 has claimed it"):
        store.pool.record_ready(swapped, machine(swapped), PROOF, MANUAL)


def test_a_faulted_machine_is_not_claimed_and_a_claimed_one_stays_claimed(store):
    serve(store)
    key, other = made_ready(store), made_ready(store)
    store.pool.record_fault(key, FAULT, MANUAL)
    assert claim(store).machine.key == other
    store.pool.record_fault(other, FAULT, MANUAL)
    [member] = store.pool.list()
    assert (member.key, member.status) == (key, PoolStatus.FAULTED)
    assert [e.fault_kind for e in store.events.list(kind="pool-machine-faulted")] == [
        "unit-failed"
    ] * 2
    with pytest.raises(UnknownMachineError, match="pool-lab-east-9"):
        store.pool.record_fault("pool-lab-east-9", FAULT, MANUAL)


def test_a_fault_of_nobody_on_the_machine_leaves_a_ready_one_ready(store):
    key = made_ready(store)
    store.pool.record_fault(key, fault("cancelled", "it was cancelled"), MANUAL)
    [member] = store.pool.list()
    assert (member.status, [each.kind for each in member.faults]) == (
        PoolStatus.READY,
        ["cancelled"],
    )
    assert store.pool.mark_preparing(key, MANUAL)
    store.pool.record_fault(key, fault("cancelled", "it was cancelled"), MANUAL)
    assert store.pool.list()[0].status is PoolStatus.FAULTED


def test_a_claim_needs_the_lock_of_the_route(store):
    serve(store)
    made_ready(store)
    for stranger in (MANUAL, run_on("r-2").activity()):
        with pytest.raises(RouteOccupiedError, match="its own workflow id"):
            claim(store, activity=stranger)


def test_the_next_run_gets_the_machine_that_a_run_claimed_and_left_behind(store):
    serve(store)
    for _ in range(2):
        made_ready(store)
    key = claim(store).machine.key
    assert claim(store).machine.key == key
    assert store.events.list(kind="pool-machine-claimed")[-1].detail["taken_up"] is True
    assert store.replacements.plan("r-1", run_on("r-1").activity()).machine_key == key


def test_a_route_with_an_unused_machine_of_its_own_claims_none(store):
    serve(store)
    store.replacements.plan("r-1", run_on("r-1").activity())
    made_ready(store)
    assert claim(store) is None


def test_a_route_without_a_machine_may_claim_one(store):
    run = run_on("r-1")
    opened = store.routes.open(opening(), run.activity())
    store.destructions.record(opened.machine_key, run.activity(), reason="it did not start")
    key = made_ready(store)
    claimed = claim(store)
    assert (claimed.machine.key, claimed.generation) == (key, 2)


def test_pool_sizes_are_recorded_and_validated(store):
    store.pool_sizes.set("lab", "west", 1, MANUAL)
    store.pool_sizes.set("lab", "east", 2, MANUAL)
    store.pool_sizes.set("lab", "east", 3, MANUAL)
    assert store.pool_sizes.list() == [
        PoolSize(provider="lab", region="east", size=3),
        PoolSize(provider="lab", region="west", size=1),
    ]
    assert store.events.list(kind="pool-size-set")[-1].detail["previous"] == 2
    with pytest.raises(BadValueError, match="pool lab/east: size"):
        store.pool_sizes.set("lab", "east", -1, MANUAL)


def test_an_invalid_value_is_named(store, store_url):
    key = made_ready(store)
    store.pool_sizes.set("lab", "east", 1, MANUAL)
    execute(store_url, "UPDATE pool_machines SET status = 'unknown'")
    execute(store_url, "UPDATE pool_sizes SET size = -1")
    with naming(f"machine {key}: status is 'unknown'"):
        assert store.pool.list() == []
    with naming("pool lab/east: size"):
        assert store.pool_sizes.list() == []


def test_a_claimed_machine_is_returned_to_the_pool_once_and_faulted(store):
    serve(store)
    key, run = made_ready(store), run_on()
    assert claim(store, activity=run.activity()).machine.key == key
    returning = run.activity()
    assert store.pool.return_machine("r-1", UNUSABLE, returning) == key
    assert store.pool.return_machine("r-1", UNUSABLE, returning) == key
    [member] = store.pool.list()
    assert (member.key, member.status) == (key, PoolStatus.FAULTED)
    assert (member.release_tag, member.proven_at) == ("v0.0.73", PROOF.observed_at)
    assert [fault.kind for fault in member.faults] == [UNUSABLE.kind]
    assert [each.key for each in store.machines.list("r-1")] == ["r-1-g1"]
    assert store.pool.return_machine("r-1", UNUSABLE, run.activity()) is None


def test_a_machine_that_serves_a_route_or_was_created_for_it_is_not_returned(store):
    serve(store)
    key, run = made_ready(store), run_on()
    claim(store, activity=run.activity())
    store.replacements.attach("r-1", machine(key), PROOF, run.activity())
    assert store.pool.return_machine("r-1", UNUSABLE, run.activity()) is None
    store.replacements.plan("r-1", run.activity())
    assert store.pool.return_machine("r-1", UNUSABLE, run.activity()) is None


def test_the_claim_of_another_run_is_not_returned(store):
    serve(store)
    made_ready(store)
    claim(store)
    assert store.pool.return_machine("r-1", UNUSABLE, run_on().activity()) is None
