"""The pool's machines: each is given to one route, once, and none is lost track of."""

from functools import partial

import pytest

from relight.domain.pool.pool import PoolStatus, claimable
from relight.store.errors import (
    BadValueError,
    RouteOccupiedError,
    UnknownMachineError,
    WrongMachineError,
)
from relight.store.pool import PoolSize
from tests.store.fleets import (
    FAULT,
    HAND,
    machine,
    opening,
    run_on,
    serve,
    statuses,
)
from tests.store.pools import (
    PROOF,
    made_ready,
    planned,
    pool_run,
)
from tests.store.sql import execute
from tests.store.test_concurrency import at_once


def claim(store, route_id="r-1", activity=None, tag="v0.0.73", architecture=None):
    activity = activity or run_on(route_id).activity()
    return store.pool.claim(route_id, tag, activity, claimable, architecture)


def test_a_machine_of_the_pool_is_on_record_before_it_is_created(store):
    assert planned(store) == "pool-lab-east-1"
    [record] = store.machines.list()
    assert (record.key, record.status) == ("pool-lab-east-1", "planned")
    assert (record.route_id, record.generation) == (None, None)
    [member] = store.pool.list("lab", "east")
    assert (member.status, member.release_tag) == (PoolStatus.PREPARING, None)
    assert store.machines.seen("pool-lab-east-1") is None


def test_a_number_is_never_given_again_and_each_region_counts_for_itself(store):
    assert [planned(store) for _ in range(2)] == ["pool-lab-east-1", "pool-lab-east-2"]
    assert planned(store, "east-1") == "pool-lab-east-1-1"
    store.destructions.record("pool-lab-east-2", HAND, reason="it came to nothing")
    assert [member.key for member in store.pool.list("lab", "east")] == ["pool-lab-east-1"]
    assert planned(store) == "pool-lab-east-3"


def test_one_that_was_proven_is_ready_and_says_what_it_runs(store):
    key = made_ready(store)
    [member] = store.pool.list("lab", "east")
    assert (member.key, member.status, member.architecture) == (key, PoolStatus.READY, "amd64")
    assert (member.release_tag, member.proven_at) == ("v0.0.73", PROOF.observed_at)
    assert store.machines.seen(key) == machine(key)
    assert store.pool.list("lab", "west") == []


def test_a_claimed_machine_is_the_routes_next_and_keeps_its_key(store):
    serve(store)
    key = made_ready(store)
    claimed = claim(store)
    assert claimed.machine == machine(key)
    assert (claimed.generation, claimed.release_tag) == (2, "v0.0.73")
    assert statuses(store) == [("r-1-g1", "running"), (key, "running")]
    assert store.pool.list() == []
    assert claim(store, activity=run_on("r-1").activity()) == claimed.model_copy(
        update={"release_tag": None}
    )


def test_the_choice_is_asked_what_the_route_needs(store):
    serve(store)
    made_ready(store, tag="v0.0.72")
    best = made_ready(store, tag="v0.0.73")
    made_ready(store, region="west")
    assert claim(store, architecture="arm64") is None
    assert claim(store).machine.key == best


def test_an_empty_pool_gives_nothing_and_writes_nothing(store):
    serve(store)
    planned(store)
    before = store.events.list()
    assert claim(store) is None
    assert store.events.list() == before


def test_an_activity_that_claims_twice_is_given_the_same_machine(store):
    serve(store)
    made_ready(store)
    made_ready(store)
    activity = run_on("r-1").activity()
    answers = at_once([partial(claim, store, "r-1", activity) for _ in range(4)])
    assert len({answer.machine.key for answer in answers}) == 1
    assert len(store.pool.list()) == 1
    assert len(store.events.list(kind="pool-machine-claimed")) == 1


def test_each_activity_that_runs_again_changes_nothing(store):
    run = pool_run()
    planning, proving, moving, failing, leaving = (run.activity() for _ in range(5))
    for _ in range(2):
        key = store.pool.plan("lab", "east", "v0.0.73", planning)
        store.pool.record_ready(key, machine(key), PROOF, proving)
        assert store.pool.preparing(key, moving)
        store.pool.record_fault(key, FAULT, failing)
        assert store.pool.leaving(key, leaving)
    [member] = store.pool.list()
    assert (member.key, member.status) == ("pool-lab-east-1", PoolStatus.LEAVING)
    kinds = [event.kind for event in store.events.list(workflow_id=run.workflow_id)]
    assert kinds == [
        f"pool-machine-{what}" for what in ("planned", "ready", "preparing", "faulted", "leaving")
    ]


def test_of_routes_that_claim_at_once_no_two_are_given_the_same_machine(store):
    routes = [f"r-{number}" for number in range(1, 7)]
    for route_id in routes:
        serve(store, route_id)
    keys = {made_ready(store) for _ in range(4)}
    answers = at_once([partial(claim, store, route_id) for route_id in routes])
    given = [answer.machine.key for answer in answers if answer is not None]
    assert sorted(given) == sorted(keys)


def test_of_a_claim_and_a_recycling_at_once_one_wins(store):
    serve(store)
    for _ in range(5):
        key = made_ready(store)
        route = run_on("r-1")
        leaves = partial(store.pool.leaving, key, pool_run().activity())
        claimed, left = at_once([partial(claim, store, "r-1", route.activity()), leaves])
        assert (claimed is None) == left
        store.destructions.record(key, route.activity(), reason="the next one")


def test_what_leaves_or_is_brought_to_another_release_is_not_claimed(store):
    serve(store)
    leaving, swapped = made_ready(store), made_ready(store)
    assert store.pool.leaving(leaving, HAND)
    assert store.pool.preparing(swapped, HAND)
    assert not store.pool.preparing(leaving, HAND)
    assert claim(store) is None
    store.pool.record_ready(swapped, machine(swapped), PROOF, HAND)
    assert claim(store).machine.key == swapped
    assert not store.pool.leaving(swapped, HAND)
    with pytest.raises(WrongMachineError, match="it leaves"):
        store.pool.record_ready(leaving, machine(leaving), PROOF, HAND)
    with pytest.raises(WrongMachineError, match="r-1 has claimed it"):
        store.pool.record_ready(swapped, machine(swapped), PROOF, HAND)


def test_a_fault_takes_a_machine_out_of_reach_but_not_out_of_a_routes_hands(store):
    serve(store)
    key, other = made_ready(store), made_ready(store)
    store.pool.record_fault(key, FAULT, HAND)
    assert claim(store).machine.key == other
    store.pool.record_fault(other, FAULT, HAND)
    [member] = store.pool.list()
    assert (member.key, member.status) == (key, PoolStatus.FAULTED)
    assert [e.fault_kind for e in store.events.list(kind="pool-machine-faulted")] == [
        "unit-failed"
    ] * 2
    with pytest.raises(UnknownMachineError, match="pool-lab-east-9"):
        store.pool.record_fault("pool-lab-east-9", FAULT, HAND)


def test_only_who_has_the_routes_lock_claims_for_it(store):
    serve(store)
    made_ready(store)
    for stranger in (HAND, run_on("r-2").activity()):
        with pytest.raises(RouteOccupiedError, match="its own workflow id"):
            claim(store, activity=stranger)


def test_what_a_run_claimed_and_left_is_taken_up_by_the_next(store):
    serve(store)
    for _ in range(2):
        made_ready(store)
    key = claim(store).machine.key
    assert claim(store).machine.key == key
    assert store.events.list(kind="pool-machine-claimed")[-1].detail["taken_up"] is True
    assert store.replacements.plan("r-1", run_on("r-1").activity()).machine_key == key


def test_a_route_that_was_left_its_own_successor_is_given_none_of_the_pool(store):
    serve(store)
    store.replacements.plan("r-1", run_on("r-1").activity())
    made_ready(store)
    assert claim(store) is None


def test_a_route_that_has_no_machine_may_be_given_one(store):
    run = run_on("r-1")
    opened = store.routes.open(opening(), run.activity())
    store.destructions.record(opened.machine_key, run.activity(), reason="it came to nothing")
    key = made_ready(store)
    claimed = claim(store)
    assert (claimed.machine.key, claimed.generation) == (key, 2)


def test_a_pools_size_is_kept_and_said(store):
    store.pool_sizes.set("lab", "west", 1, HAND)
    store.pool_sizes.set("lab", "east", 2, HAND)
    store.pool_sizes.set("lab", "east", 3, HAND)
    assert store.pool_sizes.list() == [
        PoolSize(provider="lab", region="east", size=3),
        PoolSize(provider="lab", region="west", size=1),
    ]
    assert store.events.list(kind="pool-size-set")[-1].detail["previous"] == 2
    with pytest.raises(BadValueError, match="pool lab/east: size"):
        store.pool_sizes.set("lab", "east", -1, HAND)


def test_what_was_spoilt_by_hand_is_named(store, store_url):
    key = made_ready(store)
    store.pool_sizes.set("lab", "east", 1, HAND)
    execute(store_url, "UPDATE pool_machines SET status = 'tepid'")
    execute(store_url, "UPDATE pool_sizes SET size = -1")
    with pytest.raises(BadValueError, match=f"machine {key}: status is 'tepid'"):
        store.pool.list()
    with pytest.raises(BadValueError, match="pool lab/east: size"):
        store.pool_sizes.list()
