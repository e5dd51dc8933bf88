"""Which steps a pool needs, and which of its machines is claimed first."""

from collections import Counter
from datetime import timedelta
from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from relight.domain.pool.planner import plan_pool
from relight.domain.pool.pool import (
    PoolMachine,
    PoolStatus,
    PoolStep,
    PoolTarget,
    claimable,
    pool_machine_key,
)
from tests.domain.fleets import HOUR, NOW, shuffled

DAY = 24 * HOUR
TAG = "v0.0.74"


def target(size: int = 2, **fields) -> PoolTarget:
    return PoolTarget(
        **{"provider": "p", "region": "r", "size": size, "release_tag": TAG, **fields}
    )


def machine(number: int, status=PoolStatus.READY, age: timedelta = HOUR, **fields) -> PoolMachine:
    facts = {
        "key": pool_machine_key("p", "r", number),
        "provider": "p",
        "region": "r",
        "architecture": "amd64",
        "status": status,
        "since": NOW - min(age, HOUR / 2),
        "created_at": NOW - age,
        "release_tag": TAG,
        "proven_at": NOW - min(age, HOUR),
    }
    return PoolMachine(**{**facts, **fields})


def steps(goal: PoolTarget, *machines: PoolMachine):
    return Counter(each.step for each in plan_pool(goal, machines, NOW))


targets = st.builds(
    target,
    st.integers(0, 5),
    release_tag=st.sampled_from([TAG, TAG, None]),
    surge=st.integers(1, 3),
    max_preparing=st.integers(1, 3),
)


# Status and release of each machine are one choice from all combinations: that is fast to draw.
pools = st.lists(
    st.tuples(
        st.sampled_from(
            list(
                product(
                    [*PoolStatus, PoolStatus.READY, PoolStatus.READY],
                    [TAG, TAG, "v0.0.73", None],
                )
            )
        ),
        st.integers(1, 300),
        st.integers(0, 90),
    ),
    max_size=10,
).map(
    lambda drawn: [
        machine(
            number, status, hours * HOUR, release_tag=tag, since=NOW - timedelta(minutes=minutes)
        )
        for number, ((status, tag), hours, minutes) in enumerate(drawn, start=1)
    ]
)


def test_an_empty_pool_is_filled_a_few_at_a_time():
    assert steps(target(5)) == {PoolStep.CREATE: 2}
    assert steps(target(5, max_preparing=9)) == {PoolStep.CREATE: 5}


def test_a_full_pool_needs_no_change():
    assert steps(target(2), machine(1), machine(2)) == {PoolStep.KEEP: 2}


def test_a_machine_in_preparation_is_not_created_twice():
    assert steps(target(1), machine(1, PoolStatus.PREPARING)) == {PoolStep.KEEP: 1}


def test_a_machine_with_another_release_is_swapped_in_place():
    assert steps(target(1), machine(1, release_tag="v0.0.73")) == {PoolStep.SWAP: 1}


def test_a_machine_with_an_old_proof_is_verified():
    assert steps(target(1), machine(1, age=2 * DAY, proven_at=NOW - 25 * HOUR)) == {
        PoolStep.VERIFY: 1
    }


def test_an_aged_machine_is_recycled_only_once_a_new_one_is_ready():
    aged = machine(1, age=8 * DAY)
    assert steps(target(1), aged) == {PoolStep.KEEP: 1, PoolStep.CREATE: 1}
    coming = machine(2, PoolStatus.PREPARING)
    assert steps(target(1), aged, coming) == {PoolStep.KEEP: 2}
    assert steps(target(1), aged, machine(2)) == {PoolStep.RECYCLE: 1, PoolStep.KEEP: 1}


def test_a_machine_that_could_not_be_prepared_is_recycled():
    stuck = machine(1, PoolStatus.PREPARING, since=NOW - 2 * HOUR, release_tag=None)
    assert steps(target(1), stuck)[PoolStep.RECYCLE] == 1
    failed = machine(1, PoolStatus.FAULTED, release_tag=None)
    assert steps(target(1), failed)[PoolStep.RECYCLE] == 1


def test_a_faulty_machine_that_was_ready_is_swapped_back_to_its_release():
    stuck = machine(1, PoolStatus.PREPARING, since=NOW - 2 * HOUR, release_tag="v0.0.73")
    for each in (stuck, machine(1, PoolStatus.FAULTED, release_tag="v0.0.73")):
        [action] = plan_pool(target(1), [each], NOW)
        assert (action.step, action.release_tag) == (PoolStep.SWAP, "v0.0.73")
        assert not action.is_try


def test_while_broken_machines_remain_no_new_ones_are_created():
    broken = [machine(number, PoolStatus.FAULTED, release_tag=None) for number in range(1, 4)]
    assert steps(target(2), *broken) == {PoolStep.RECYCLE: 3}


def test_without_a_declared_release_nothing_is_created():
    assert steps(target(2, release_tag=None), machine(1)) == {PoolStep.KEEP: 1}


def test_a_pool_that_is_too_large_loses_its_oldest_machine():
    plan = plan_pool(target(1), [machine(1, age=2 * HOUR), machine(2, age=HOUR)], NOW)
    assert [each.key for each in plan if each.step is PoolStep.RECYCLE] == ["pool-p-r-1"]


@given(targets, pools)
def test_recycling_never_leaves_fewer_ready_machines_than_the_size(goal, machines):
    ready = {each.key for each in machines if each.status is PoolStatus.READY}
    recycled = {
        each.key for each in plan_pool(goal, machines, NOW) if each.step is PoolStep.RECYCLE
    }
    assert len(ready - recycled) >= min(len(ready), goal.size)


@given(targets, pools)
def test_no_more_machines_are_created_than_are_missing_and_than_the_limits_allow(goal, machines):
    plan = plan_pool(goal, machines, NOW)
    created = sum(each.step is PoolStep.CREATE for each in plan)
    if created:
        assert goal.release_tag is not None
        assert len(machines) + created <= goal.size + goal.surge
    swapped = sum(each.step is PoolStep.SWAP for each in plan)
    assert created + swapped <= goal.max_preparing
    assert all(each.reason for each in plan)


@given(targets, pools)
def test_each_machine_has_exactly_one_step_and_a_leaving_one_is_recycled(goal, machines):
    planned = {each.key: each.step for each in plan_pool(goal, machines, NOW) if each.key}
    assert sorted(planned) == sorted(each.key for each in machines)
    leaving = [each.key for each in machines if each.status is PoolStatus.LEAVING]
    assert all(planned[key] is PoolStep.RECYCLE for key in leaving)


@given(targets, pools, st.randoms())
def test_the_plan_does_not_depend_on_the_order_of_the_machines(goal, machines, random):
    plan = plan_pool(goal, machines, NOW)
    assert plan_pool(goal, shuffled(machines, random), NOW) == plan


@given(targets, pools)
def test_if_every_step_succeeds_the_pool_reaches_its_target(goal, machines):
    for _ in range(60):
        plan = plan_pool(goal, machines, NOW)
        under_way = (PoolStatus.PREPARING, PoolStatus.LEAVING)
        changing = any(each.status in under_way for each in machines)
        if {each.step for each in plan} <= {PoolStep.KEEP} and not changing:
            break
        machines = after_steps(plan, machines)
    alive = [each for each in machines if each.status is not PoolStatus.LEAVING]
    if goal.release_tag is not None:
        assert len(alive) == goal.size
        assert all(each.release_tag == TAG for each in alive)
        assert all(NOW - each.created_at <= goal.max_age for each in alive)


def after_steps(plan, machines):
    """Return the pool after every step, and every preparation in progress, succeeded."""
    by_key = {each.key: each for each in machines if each.status is not PoolStatus.LEAVING}
    fresh = {"status": PoolStatus.READY, "proven_at": NOW}
    for key, each in by_key.items():
        if each.status is PoolStatus.PREPARING:
            by_key[key] = each.model_copy(update={**fresh, "release_tag": TAG})
    for step in plan:
        if step.step is PoolStep.RECYCLE:
            by_key.pop(step.key, None)
        elif step.step in {PoolStep.SWAP, PoolStep.VERIFY}:
            proven = {**fresh, "release_tag": step.release_tag}
            by_key[step.key] = by_key[step.key].model_copy(update=proven)
        elif step.step is PoolStep.CREATE:
            number = 1001 + len(by_key)
            while pool_machine_key("p", "r", number) in by_key:
                number += 1
            new = machine(number, age=timedelta(0))
            by_key[new.key] = new
    return list(by_key.values())


def test_of_claimable_machines_those_at_the_release_come_first():
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
def test_only_ready_and_proven_machines_can_be_claimed(machines):
    ready = {each.key for each in machines if each.status is PoolStatus.READY and each.proven_at}
    claims = claimable(machines, TAG)
    assert len(claims) == len(set(claims))
    assert set(claims) == ready


def test_a_silent_machine_is_verified_and_no_route_claims_it():
    silent = machine(1, silent_since=NOW - HOUR / 60)
    assert steps(target(size=1), silent) == {PoolStep.VERIFY: 1}
    assert claimable([silent, machine(2)], TAG) == (machine(2).key,)
    proven_since = machine(1, silent_since=NOW - 2 * HOUR)
    assert steps(target(size=1), proven_since) == {PoolStep.KEEP: 1}
    assert claimable([proven_since], TAG) == (proven_since.key,)


def test_no_machine_of_an_image_whose_rollout_was_stopped_is_claimed_unless_it_is_asked_for():
    bad = machine(1).model_copy(update={"image_name": "base-2-amd64"})
    good = machine(2).model_copy(update={"image_name": "base-1-amd64"})
    bare, stopped = machine(3), {"base-2-amd64"}
    claims = claimable([bad, good, bare], TAG, stopped_images=stopped)
    assert set(claims) == {good.key, bare.key}
    assert claimable([bad], TAG, image_name="base-2-amd64", stopped_images=stopped) == (bad.key,)


def test_a_machine_of_another_image_is_replaced_once_another_is_ready():
    new = target(1, image_names={"amd64": "base-2"})
    old = machine(1, image_name="base-1")
    assert steps(new, old) == {PoolStep.KEEP: 1, PoolStep.CREATE: 1}
    ready = machine(2, image_name="base-2")
    assert steps(new, old, ready) == {PoolStep.RECYCLE: 1, PoolStep.KEEP: 1}


def test_an_image_of_another_architecture_makes_no_machine_wrong():
    arm = target(1, image_names={"arm64": "base-2-arm64"})
    assert steps(arm, machine(1)) == {PoolStep.KEEP: 1}


def test_a_machine_of_an_image_that_was_stopped_is_replaced():
    as_settings_say = target(1, image_names={"amd64": None})
    stopped = machine(1, image_name="base-2")
    assert steps(as_settings_say, stopped) == {PoolStep.KEEP: 1, PoolStep.CREATE: 1}
    assert steps(as_settings_say, machine(1)) == {PoolStep.KEEP: 1}
