"""What becomes of machines, records and operations that do not fit each other."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.domain.machine import MachineStatus
from relight.domain.names import machine_key
from relight.domain.pool.pool import pool_machine_key
from relight.domain.sweep.planner import (
    CHANGES,
    SweepView,
    destroyed_by,
    lock_of,
    plan_sweep,
    pool_number,
)
from relight.domain.sweep.sweep import (
    MachineAtProvider,
    MachineOnRecord,
    OpenOperation,
    ProviderListing,
    RecordedAs,
    SweepPolicy,
    SweepStep,
)
from tests.domain.fleets import HOUR, NOW

POLICY = SweepPolicy(owner="us")
OLD = NOW - 5 * HOUR


def machine(key: str = "a-g1", generation: int | None = 1, **what) -> MachineAtProvider:
    facts = {
        "provider": "linode",
        "provider_id": f"id-{key}",
        "region": "east",
        "architecture": "amd64",
        "status": MachineStatus.RUNNING,
        "owner": "us",
        "created_at": OLD,
    }
    return MachineAtProvider(key=key, generation=generation, **{**facts, **what})


def record(key: str = "a-g1", generation: int = 1, **what) -> MachineOnRecord:
    facts = {
        "provider": "linode",
        "provider_id": f"id-{key}",
        "region": "east",
        "recorded_as": RecordedAs.RUNNING,
        "recorded_at": OLD,
        "route_id": key.rpartition("-g")[0] or None,
    }
    return MachineOnRecord(key=key, generation=generation, **{**facts, **what})


def listing(*machines: MachineAtProvider, complete: bool = True) -> ProviderListing:
    return ProviderListing(provider="linode", asked_at=NOW, machines=machines, complete=complete)


def sweep(machines, records=(), workflows=(), operations=(), routes=("a",), complete=True):
    view = SweepView(
        listings=[listing(*machines, complete=complete)],
        open_workflows=frozenset(workflows),
        records=records,
        operations=operations,
        route_ids=frozenset(routes),
    )
    return plan_sweep(view, POLICY, NOW)


def step(*args, **what):
    plan = sweep(*args, **what)
    actions = [*plan.actions, *plan.left]
    assert len(actions) == 1
    assert actions[0].reason
    return actions[0].step


def test_what_fits_is_not_spoken_of():
    plan = sweep([machine()], [record(serves=True)])
    assert (plan.actions, plan.left) == ((), ())


@pytest.mark.parametrize("owner", [None, "them"])
def test_what_is_not_tagged_ours_is_nothing_to_us(owner):
    plan = sweep([machine(owner=owner), machine("z-g9", 9, owner=owner)])
    assert (plan.actions, plan.left) == ((), ())


def test_an_unrecorded_machine_of_a_route_that_has_another_is_destroyed():
    records = [record("a-g2", 2, serves=True)]
    assert step([machine(), machine("a-g2", 2)], records) is SweepStep.DESTROY


def test_an_unrecorded_machine_is_adopted_where_it_is_missed():
    assert step([machine()]) is SweepStep.ADOPT
    assert step([machine("pool-linode-east-3", 3)], routes=()) is SweepStep.ADOPT
    assert step([machine()], routes=()) is SweepStep.DESTROY


def test_a_machine_that_was_planned_and_is_there_is_adopted():
    planned = record(recorded_as=RecordedAs.PLANNED, provider_id=None)
    assert step([machine()], [planned]) is SweepStep.ADOPT


def test_a_machine_that_was_replaced_and_left_is_destroyed():
    records = [record(), record("a-g2", 2, serves=True)]
    assert step([machine(), machine("a-g2", 2)], records) is SweepStep.DESTROY


def test_a_machine_that_should_be_gone_is_destroyed_by_the_id_on_record_alone():
    gone = record(recorded_as=RecordedAs.DESTROYED)
    assert step([machine()], [gone]) is SweepStep.DESTROY
    assert step([machine(provider_id="other")], [gone]) is SweepStep.ASK
    assert step([machine(generation=2)], [gone]) is SweepStep.ASK


def test_a_machine_whose_tag_contradicts_its_key_is_not_destroyed():
    assert step([machine(generation=None)], routes=()) is SweepStep.ASK


def test_a_machine_that_serves_and_bears_another_tag_is_a_persons_matter():
    assert step([machine(owner=None)], [record(serves=True)]) is SweepStep.ASK


def test_two_machines_of_one_key_are_a_persons_matter():
    plan = sweep([machine(), machine(provider_id="twin")], routes=())
    assert [each.step for each in plan.left] == [SweepStep.ASK] * 2


def test_young_machines_and_those_of_open_workflows_wait():
    assert step([machine(created_at=NOW - HOUR / 2)], routes=()) is SweepStep.WAIT
    assert step([machine()], workflows=["route/a"], routes=()) is SweepStep.WAIT
    pooled = machine("pool-linode-east-3", 3)
    assert step([pooled], workflows=["pool/linode/east"]) is SweepStep.WAIT
    assert step([machine(status=MachineStatus.DELETING)], routes=()) is SweepStep.WAIT
    assert step([machine(created_at=None)], routes=()) is SweepStep.ASK


def test_a_claimed_pool_machine_is_guarded_by_its_routes_workflow():
    claimed = record("pool-linode-east-3", 3, route_id="a")
    pooled = machine("pool-linode-east-3", 3)
    records = [claimed, record("a-g9", 9, serves=True)]
    assert step([pooled, machine("a-g9", 9)], records) is SweepStep.DESTROY
    busy = sweep([pooled, machine("a-g9", 9)], records, workflows=["route/a"])
    assert busy.actions == ()


def test_a_record_without_a_machine_is_marked_lost():
    assert step([], [record(serves=True)]) is SweepStep.MARK_LOST
    young = record(recorded_at=NOW - HOUR / 2)
    assert step([], [young]) is SweepStep.WAIT
    assert step([], [record()], workflows=["route/a"]) is SweepStep.WAIT


def test_a_listing_that_came_in_part_says_nothing():
    plan = sweep([machine("z-g1")], [record()], complete=False)
    assert (plan.actions, plan.left) == ((), ())


def test_another_providers_records_are_not_missed():
    plan = sweep([], [record(provider="oci")])
    assert (plan.actions, plan.left) == ((), ())


def test_an_operation_whose_workflow_is_gone_is_closed_after_the_grace():
    old = OpenOperation(workflow_id="rollout/v1/fleet", run_id="r", opened_at=OLD)
    young = old.model_copy(update={"opened_at": NOW})
    assert step([], operations=[old]) is SweepStep.CLOSE
    assert step([], operations=[young]) is SweepStep.WAIT
    assert sweep([], operations=[old], workflows=[old.workflow_id]).actions == ()


def test_a_store_that_lost_its_records_destroys_no_fleet():
    fleet = [machine(f"r{at}-g1") for at in range(10)]
    plan = sweep(fleet, routes=())
    assert plan.actions == ()
    assert plan.counts == {SweepStep.ASK: 10}
    assert "are our records whole?" in plan.left[0].reason


def test_a_listing_that_comes_empty_loses_no_fleet():
    records = [record(f"r{at}-g1", serves=True) for at in range(10)]
    plan = sweep([], records)
    assert plan.actions == ()
    assert "is the listing whole?" in plan.left[0].reason


def test_a_sweep_takes_no_more_steps_than_it_may_and_tells_of_the_rest():
    operations = [
        OpenOperation(workflow_id=f"w/{at:02}", run_id="r", opened_at=OLD) for at in range(25)
    ]
    plan = sweep([], operations=operations)
    assert (len(plan.actions), len(plan.left)) == (20, 5)
    assert plan.counts == {SweepStep.CLOSE: 25}


ages = st.integers(0, 300).map(lambda minutes: NOW - minutes * HOUR / 60)
route_ids = st.sampled_from(["a", "b", "c-g1"])
keys = st.builds(machine_key, route_ids, st.integers(1, 3)) | st.builds(
    pool_machine_key, st.just("linode"), st.just("east"), st.integers(1, 3)
)
keys |= st.sampled_from(["web", "A-g1"])


def numbered(key: str) -> int:
    digits = key.rpartition("-")[-1].lstrip("g")
    return int(digits) if digits.isdigit() else 1


@st.composite
def seen_machines(draw):
    key = draw(keys)
    return machine(
        key,
        draw(st.sampled_from([numbered(key)] * 4 + [None, 7])),
        owner=draw(st.sampled_from(["us", "us", "us", "them", None])),
        provider_id=draw(st.sampled_from([f"id-{key}"] * 4 + ["other"])),
        created_at=draw(st.none() | ages),
        status=draw(st.sampled_from(MachineStatus)),
    )


@st.composite
def recorded_machines(draw):
    key = draw(keys)
    status = draw(st.sampled_from(RecordedAs))
    return record(
        key,
        numbered(key),
        recorded_as=status,
        recorded_at=draw(ages),
        provider_id=draw(st.sampled_from([f"id-{key}", None])),
        route_id=draw(st.none() | route_ids),
        serves=status is RecordedAs.RUNNING and draw(st.booleans()),
    )


views = st.builds(
    SweepView,
    listings=st.lists(seen_machines(), max_size=10).map(lambda found: [listing(*found)]),
    open_workflows=st.frozensets(
        st.sampled_from(["route/a", "route/b", "route/c-g1", "pool/linode/east"])
    ),
    records=st.lists(recorded_machines(), max_size=10, unique_by=lambda each: each.key),
    operations=st.lists(
        st.builds(
            OpenOperation,
            workflow_id=st.sampled_from(["route/a", "rollout/v1/fleet"]),
            run_id=st.just("r"),
            opened_at=ages,
        ),
        max_size=3,
    ),
    route_ids=st.frozensets(route_ids),
)


@given(views)
def test_nothing_is_destroyed_that_is_not_ours_and_old_and_idle(view):
    records = {each.key: each for each in view.records}
    copies = Counter(each.key for each in view.listings[0].machines)
    for found in destroyed_by(plan_sweep(view, POLICY, NOW).actions):
        assert found.owner == "us"
        assert found.created_at is not None
        assert NOW - found.created_at >= POLICY.grace
        assert copies[found.key] == 1
        known = records.get(found.key)
        lock = lock_of(found.key, "linode", "east", known.route_id if known else None)
        assert lock is not None
        assert lock not in view.open_workflows
        assert found.generation == numbered(found.key)
        if known is not None:
            assert not known.serves
            assert known.provider_id in (None, found.provider_id)


@given(views)
def test_no_more_is_destroyed_or_marked_lost_than_is_believed(view):
    plan = plan_sweep(view, POLICY, NOW)
    ours = sum(each.owner == "us" for each in view.listings[0].machines)
    destroyed = len(destroyed_by(plan.actions))
    assert destroyed < POLICY.doubt_at_least or destroyed <= POLICY.doubt_share * ours
    assert all(each.step in CHANGES for each in plan.actions)
    assert sum(plan.counts.values()) == len(plan.actions) + len(plan.left)


@given(views)
def test_nothing_is_marked_lost_that_is_there_or_is_being_worked_on(view):
    listed = {each.key for each in view.listings[0].machines}
    records = {each.key: each for each in view.records}
    for each in plan_sweep(view, POLICY, NOW).actions:
        if each.step is SweepStep.MARK_LOST:
            assert each.key not in listed
            known = records[each.key]
            assert NOW - known.recorded_at >= POLICY.grace
            assert lock_of(each.key, "linode", "east", known.route_id) not in view.open_workflows
        if each.step is SweepStep.CLOSE:
            assert each.operation is not None
            assert each.operation.workflow_id not in view.open_workflows
            assert NOW - each.operation.opened_at >= POLICY.grace


@given(views, st.randoms())
def test_the_order_of_what_is_seen_changes_nothing(view, random):
    def mixed(things):
        shuffled = list(things)
        random.shuffle(shuffled)
        return shuffled

    again = SweepView(
        listings=[listing(*mixed(view.listings[0].machines))],
        open_workflows=view.open_workflows,
        records=mixed(view.records),
        operations=mixed(view.operations),
        route_ids=view.route_ids,
    )

    def told(plan):
        return sorted(each.model_dump_json() for each in (*plan.actions, *plan.left))

    assert told(plan_sweep(again, POLICY, NOW)) == told(plan_sweep(view, POLICY, NOW))


def test_a_key_tells_whose_it_is():
    assert pool_number("pool-linode-us-east-3", "linode", "us-east") == 3
    assert pool_number("pool-linode-us-east-3", "linode", "us") is None
    assert pool_number("pool-linode-us-east-03", "linode", "us-east") is None
    assert lock_of("eu-1-g12", "linode", "east") == "route/eu-1"
    assert lock_of("web", "linode", "east") is None
