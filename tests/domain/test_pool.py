"""What a pool needs, and which of its machines is claimed first."""

from collections import Counter
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from relight.domain.pool.pool import (
    PoolMachine,
    PoolStatus,
    PoolStep,
    PoolTarget,
    claimable,
    plan_pool,
    pool_machine_key,
)
from tests.domain.fleets import HOUR, NOW

DAY = 24 * HOUR
TAG = "v0.0.74"


def target(size: int = 2, **what) -> PoolTarget:
    return PoolTarget(**{"provider": "p", "region": "r", "size": size, "release_tag": TAG, **what})


def machine(number: int, status=PoolStatus.READY, age: timedelta = HOUR, **what) -> PoolMachine:
    facts = {
        "key": pool_machine_key("p", "r", number),
        "provider": "p",
        "region": "r",
        "status": status,
        "since": NOW - min(age, HOUR / 2),
        "created_at": NOW - age,
        "release_tag": TAG,
        "proven_at": NOW - min(age, HOUR),
    }
    return PoolMachine(**{**facts, **what})


def steps(wanted: PoolTarget, *machines: PoolMachine):
    return Counter(each.step for each in plan_pool(wanted, machines, NOW))


targets = st.builds(
    target,
    st.integers(0, 5),
    release_tag=st.sampled_from([TAG, TAG, None]),
    surge=st.integers(1, 3),
    at_once=st.integers(1, 3),
)


def of_this_kind(number, status, age, tag, since):
    return machine(number, status, age, release_tag=tag, since=NOW - since)


pools = st.lists(
    st.builds(
        of_this_kind,
        st.integers(1, 1000),
        st.sampled_from([*PoolStatus, PoolStatus.READY, PoolStatus.READY]),
        st.integers(1, 300).map(lambda hours: hours * HOUR),
        st.sampled_from([TAG, TAG, "v0.0.73", None]),
        st.integers(0, 90).map(lambda minutes: timedelta(minutes=minutes)),
    ),
    max_size=10,
    unique_by=lambda each: each.key,
)


def test_an_empty_pool_is_filled_a_few_at_a_time():
    assert steps(target(5)) == {PoolStep.CREATE: 2}
    assert steps(target(5, at_once=9)) == {PoolStep.CREATE: 5}


def test_a_full_pool_is_kept():
    assert steps(target(2), machine(1), machine(2)) == {PoolStep.KEEP: 2}


def test_a_machine_that_is_being_made_is_not_made_twice():
    assert steps(target(1), machine(1, PoolStatus.PREPARING)) == {PoolStep.KEEP: 1}


def test_a_machine_that_is_behind_is_swapped_in_place():
    assert steps(target(1), machine(1, release_tag="v0.0.73")) == {PoolStep.SWAP: 1}


def test_a_machine_that_was_proven_long_ago_is_proven_again():
    assert steps(target(1), machine(1, age=2 * DAY, proven_at=NOW - 25 * HOUR)) == {
        PoolStep.PROVE: 1
    }


def test_an_aged_machine_goes_once_a_new_one_is_ready_and_not_before():
    aged = machine(1, age=8 * DAY)
    assert steps(target(1), aged) == {PoolStep.KEEP: 1, PoolStep.CREATE: 1}
    coming = machine(2, PoolStatus.PREPARING)
    assert steps(target(1), aged, coming) == {PoolStep.KEEP: 2}
    assert steps(target(1), aged, machine(2)) == {PoolStep.RECYCLE: 1, PoolStep.KEEP: 1}


def test_what_never_became_ready_is_recycled():
    stuck = machine(1, PoolStatus.PREPARING, since=NOW - 2 * HOUR)
    assert steps(target(1), stuck)[PoolStep.RECYCLE] == 1
    assert steps(target(1), machine(1, PoolStatus.FAULTED))[PoolStep.RECYCLE] == 1


def test_where_what_is_broken_cannot_be_destroyed_no_more_is_made():
    broken = [machine(number, PoolStatus.FAULTED) for number in range(1, 4)]
    assert steps(target(2), *broken) == {PoolStep.RECYCLE: 3}


def test_without_a_declared_release_nothing_is_made():
    assert steps(target(2, release_tag=None), machine(1)) == {PoolStep.KEEP: 1}


def test_a_pool_that_should_be_smaller_loses_its_oldest():
    plan = plan_pool(target(1), [machine(1, age=2 * HOUR), machine(2, age=HOUR)], NOW)
    assert [each.key for each in plan if each.step is PoolStep.RECYCLE] == ["pool-p-r-1"]


@given(targets, pools)
def test_recycling_never_takes_what_can_be_claimed_below_the_size(wanted, machines):
    ready = {each.key for each in machines if each.status is PoolStatus.READY}
    recycled = {
        each.key for each in plan_pool(wanted, machines, NOW) if each.step is PoolStep.RECYCLE
    }
    assert len(ready - recycled) >= min(len(ready), wanted.size)


@given(targets, pools)
def test_no_more_is_made_than_is_missing_nor_than_there_is_room_for(wanted, machines):
    plan = plan_pool(wanted, machines, NOW)
    made = sum(each.step is PoolStep.CREATE for each in plan)
    if made:
        assert wanted.release_tag is not None
        assert len(machines) + made <= wanted.size + wanted.surge
    swapped = sum(each.step is PoolStep.SWAP for each in plan)
    assert made + swapped <= wanted.at_once
    assert all(each.reason for each in plan)


@given(targets, pools)
def test_each_machine_that_is_not_on_its_way_out_has_one_step(wanted, machines):
    keys = [each.key for each in plan_pool(wanted, machines, NOW) if each.key]
    staying = [each.key for each in machines if each.status is not PoolStatus.LEAVING]
    assert sorted(keys) == sorted(staying)


@given(targets, pools, st.randoms())
def test_the_order_of_the_machines_changes_nothing(wanted, machines, random):
    plan = plan_pool(wanted, machines, NOW)
    mixed = list(machines)
    random.shuffle(mixed)
    assert plan_pool(wanted, mixed, NOW) == plan


@given(targets, pools)
def test_when_every_step_succeeds_the_pool_becomes_what_it_should_be(wanted, machines):
    for _ in range(60):
        plan = plan_pool(wanted, machines, NOW)
        coming = any(each.status is PoolStatus.PREPARING for each in machines)
        if {each.step for each in plan} <= {PoolStep.KEEP} and not coming:
            break
        machines = taken(plan, machines)
    alive = [each for each in machines if each.status is not PoolStatus.LEAVING]
    if wanted.release_tag is not None:
        assert len(alive) == wanted.size
        assert all(each.release_tag == TAG for each in alive)
        assert all(NOW - each.created_at <= wanted.max_age for each in alive)


def taken(plan, machines):
    """Return the pool after every step succeeded, and what was under way as well."""
    by_key = {each.key: each for each in machines if each.status is not PoolStatus.LEAVING}
    fresh = {"status": PoolStatus.READY, "release_tag": TAG, "proven_at": NOW}
    for key, each in by_key.items():
        if each.status is PoolStatus.PREPARING:
            by_key[key] = each.model_copy(update=fresh)
    for step in plan:
        if step.step is PoolStep.RECYCLE:
            del by_key[step.key]
        elif step.step in {PoolStep.SWAP, PoolStep.PROVE}:
            by_key[step.key] = by_key[step.key].model_copy(update=fresh)
        elif step.step is PoolStep.CREATE:
            number = 1001 + len(by_key)
            while pool_machine_key("p", "r", number) in by_key:
                number += 1
            new = machine(number, age=timedelta(0))
            by_key[new.key] = new
    return list(by_key.values())


def test_of_machines_that_may_be_claimed_the_one_at_the_release_comes_first():
    machines = [
        machine(1, release_tag="v0.0.73", proven_at=NOW),
        machine(2, proven_at=NOW - HOUR),
        machine(3, proven_at=NOW),
        machine(4, PoolStatus.PREPARING),
        machine(5, proven_at=None),
        machine(6, architecture="arm64"),
    ]
    assert claimable(machines[:5], TAG) == ("pool-p-r-3", "pool-p-r-2", "pool-p-r-1")
    assert claimable(machines, TAG, "arm64") == ("pool-p-r-6",)


@given(pools)
def test_only_what_is_ready_and_proven_can_be_claimed(machines):
    ready = {each.key for each in machines if each.status is PoolStatus.READY and each.proven_at}
    claims = claimable(machines, TAG)
    assert len(claims) == len(set(claims))
    assert set(claims) == ready
