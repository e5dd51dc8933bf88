"""What is done about a faulty pool machine, and when a pool stops to try."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.domain.fault.fault import BUDGETED_CLASSES
from relight.domain.fault.table import RULES, fault, locks_out
from relight.domain.pool.planner import plan_pool, why_pool_waits
from relight.domain.pool.pool import PoolStatus, PoolStep
from relight.domain.pool.remediation import observation_of_pool
from relight.domain.pool.tries import PoolPolicy, PoolTries
from relight.domain.route_history import ObservedFault
from tests.domain.fleets import NOW
from tests.domain.pool.test_pool import TAG, machine, target

MINUTE = timedelta(minutes=1)
LOCKED_OUT = [kind for kind in RULES if locks_out(kind)]
PROVEN = {"release_tag": TAG, "proven_at": NOW - 60 * MINUTE}


def faulted(number: int, kind: str, *minutes: float, **fields):
    faults = tuple(
        ObservedFault(at=NOW - ago * MINUTE, kind=kind, machine_key=f"pool-p-r-{number}")
        for ago in minutes
    )
    return machine(number, PoolStatus.FAULTED, **{**PROVEN, "faults": faults, **fields})


def steps(goal, *machines, locked_out=()):
    return {
        each.key or "new": each.step
        for each in plan_pool(goal, machines, NOW, locked_out=locked_out)
    }


@pytest.mark.parametrize("kind", LOCKED_OUT)
def test_machines_that_lock_us_out_as_others_do_are_verified_at_once_and_never_recycled(kind):
    for minutes in ((0,), (40, 20, 1)):
        pool = [faulted(number, kind, *minutes) for number in (1, 2)]
        keys = {each.key for each in pool}
        planned = steps(target(2), *pool, locked_out=keys)
        assert planned == dict.fromkeys(keys, PoolStep.VERIFY)
    assert not observation_of_pool(pool[0]).reached
    assert observation_of_pool(pool[0]).locked_out_by == kind


def test_another_host_key_on_one_machine_is_left_to_a_person_and_does_not_count():
    foreign = faulted(1, "host-key-mismatch", 40, 20, 1)
    assert steps(target(1), foreign) == {"pool-p-r-1": PoolStep.KEEP, "new": PoolStep.CREATE}
    [action, _] = plan_pool(target(1), [foreign], NOW)
    assert "`relight pool recycle pool-p-r-1`" in action.reason
    assert steps(target(0), foreign) == {"pool-p-r-1": PoolStep.RECYCLE}


def test_an_unreachable_machine_is_given_up_by_the_evidence_that_a_route_needs():
    key = "pool-p-r-1"
    assert steps(target(1), faulted(1, "host-unreachable", 1)) == {key: PoolStep.KEEP}
    assert steps(target(1), faulted(1, "host-unreachable", 5)) == {key: PoolStep.VERIFY}
    lost = faulted(1, "host-unreachable", 20, 10, 1)
    assert steps(target(1), lost) == {key: PoolStep.KEEP, "new": PoolStep.CREATE}
    plan = plan_pool(target(1), [lost, machine(2)], NOW)
    [recycled] = [each for each in plan if each.step is PoolStep.RECYCLE]
    assert (recycled.key, recycled.unreachable) == (key, True)


def test_a_machine_that_was_ready_is_recycled_only_once_another_is_ready_in_its_place():
    broken = [faulted(number, "disk-full", 30, 20, 10) for number in (1, 2)]
    planned = steps(target(2), *broken)
    assert planned == {
        "pool-p-r-1": PoolStep.VERIFY,
        "pool-p-r-2": PoolStep.VERIFY,
        "new": PoolStep.CREATE,
    }
    planned = steps(target(2), *broken, machine(3))
    assert [*planned.values()].count(PoolStep.RECYCLE) == 1
    planned = steps(target(2), broken[1], machine(3))
    assert planned == {
        "pool-p-r-2": PoolStep.VERIFY,
        "pool-p-r-3": PoolStep.KEEP,
        "new": PoolStep.CREATE,
    }
    planned = steps(target(2), broken[1], machine(3), machine(4))
    assert planned["pool-p-r-2"] is PoolStep.RECYCLE


kinds = st.sampled_from([*RULES, "unheard-of"])
faulty = st.builds(
    lambda number, kind, minutes, proven: faulted(
        number, kind, *minutes, **(PROVEN if proven else {"release_tag": None, "proven_at": None})
    ),
    st.integers(1, 4),
    kinds,
    st.lists(st.integers(0, 55), min_size=1, max_size=5),
    st.booleans(),
)


@given(st.lists(faulty, max_size=4, unique_by=lambda each: each.key), st.integers(1, 4))
def test_a_machine_that_was_ready_is_recycled_only_for_a_fault_of_host_or_release(faults, size):
    pool = [*faults, *(machine(number) for number in range(11, 11 + size))]
    for action in plan_pool(target(size), pool, NOW):
        if action.step is not PoolStep.RECYCLE or action.key is None:
            continue
        each, reason = next(each for each in pool if each.key == action.key), action.reason
        assert sum(other.status is PoolStatus.READY for other in pool if other is not each) >= size
        # Of more machines than the pool should have, a faulty one goes before a healthy one.
        if each.status is PoolStatus.READY or each.release_tag is None or "should have" in reason:
            continue
        last = max(each.faults, key=lambda fault: fault.at)
        # A provider that reports a failed machine speaks of this machine only.
        assert RULES[last.kind].fault_class in BUDGETED_CLASSES or last.kind == "machine-failed"


@given(st.lists(faulty, max_size=4, unique_by=lambda each: each.key), st.integers(1, 4))
def test_without_a_ready_machine_none_that_was_ready_is_recycled(faults, size):
    ever_ready = {each.key for each in faults if each.release_tag is not None}
    recycled = {
        each.key for each in plan_pool(target(size), faults, NOW) if each.step is PoolStep.RECYCLE
    }
    assert len(ever_ready - recycled) >= min(size, len(ever_ready))


@given(st.lists(faulty, max_size=4, unique_by=lambda each: each.key))
def test_a_blocked_pool_is_only_observed(faults):
    goal = target(2, blocked="the breaker is open")
    assert set(steps(goal, *faults, machine(9, release_tag="v0.0.73")).values()) <= {
        PoolStep.KEEP,
        PoolStep.VERIFY,
        PoolStep.RECYCLE,  # Which the breaker refuses, at the moment of the destruction.
    }


def tried(failed: int, ago: timedelta, kind: str = "unit-failed", tag: str = TAG):
    cause = fault(kind, "it failed")
    return PoolTries(release_tag=tag, failed=failed, last_at=NOW - ago, fault=cause)


@pytest.mark.parametrize(
    ("tries", "waits"),
    [
        (PoolTries(), None),
        (tried(1, 4 * MINUTE), "the next one is at 12:01 UTC"),
        (tried(1, 5 * MINUTE), None),
        (tried(2, 9 * MINUTE), "the next one is at 12:01 UTC"),
        (tried(2, 10 * MINUTE), None),
        (tried(3, 600 * MINUTE), "it is stopped: 3 tries in a row"),
        (tried(9, 59 * MINUTE, "provider-unavailable"), "the next one is at 12:01 UTC"),
        (tried(9, 60 * MINUTE, "provider-unavailable"), None),
        (tried(3, MINUTE, tag="v0.0.73"), None),
    ],
)
def test_a_pool_tries_ever_less_often_and_stops(tries, waits):
    goal = target(1, tries=tries)
    told = why_pool_waits(goal, NOW)
    if waits is None:
        assert told is None
    else:
        assert told is not None
        assert waits in told
        assert "`relight pool retry p r`" in told
    old = machine(1, release_tag="v0.0.73")
    assert steps(goal) == ({"new": PoolStep.CREATE} if waits is None else {})
    assert steps(goal, old) == {old.key: PoolStep.SWAP if waits is None else PoolStep.KEEP}


def test_the_number_of_tries_is_a_setting():
    goal = target(1, tries=tried(3, 600 * MINUTE), policy=PoolPolicy(max_tries=4))
    assert why_pool_waits(goal, NOW) is None
