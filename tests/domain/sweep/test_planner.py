"""What a sweep does about machines, records and operations that do not match."""

from collections import Counter
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.domain.machine import MachineAtProvider, MachineOnRecord, MachineStatus, RecordedAs
from relight.domain.names import machine_key
from relight.domain.pool.pool import pool_machine_key
from relight.domain.sweep.planner import (
    CHANGES,
    SweepView,
    lock_of,
    lock_of_record,
    plan_sweep,
    pool_number,
)
from relight.domain.sweep.sweep import OpenOperation, ProviderListing, SweepPolicy, SweepStep
from tests.domain.fleets import HOUR, NOW, shuffled

POLICY = SweepPolicy(owner="us")
OLD = NOW - 5 * HOUR
MINUTE = HOUR / 60


def machine(key: str = "a-g1", generation: int | None = 1, **fields) -> MachineAtProvider:
    facts = {
        "provider": "linode",
        "provider_id": f"id-{key}",
        "region": "east",
        "architecture": "amd64",
        "status": MachineStatus.RUNNING,
        "owner": "us",
        "created_at": OLD,
    }
    return MachineAtProvider(key=key, generation=generation, **{**facts, **fields})


def record(key: str = "a-g1", generation: int = 1, **fields) -> MachineOnRecord:
    facts = {
        "provider": "linode",
        "provider_id": f"id-{key}",
        "region": "east",
        "recorded_as": RecordedAs.RUNNING,
        "recorded_at": OLD,
        "route_id": key.rpartition("-g")[0] or None,
    }
    return MachineOnRecord(key=key, generation=generation, **{**facts, **fields})


def listing(*machines: MachineAtProvider, complete: bool = True) -> ProviderListing:
    return ProviderListing(provider="linode", asked_at=NOW, machines=machines, complete=complete)


# Every key of these tests was on record once, so its machine is not newer than the records.
KNOWN = {"a-g": 9, "z-g": 9, "pool-linode-east-": 9, **{f"r{at}-g": 9 for at in range(10)}}


def sweep(
    machines,
    records=(),
    workflows=(),
    operations=(),
    routes=("a",),
    complete=True,
    newest=KNOWN,
):
    view = SweepView(
        listings=[listing(*machines, complete=complete)],
        open_workflows=frozenset(workflows),
        records=records,
        operations=operations,
        route_ids=frozenset(routes),
        newest=newest,
    )
    return plan_sweep(view, POLICY, NOW)


def step(*args, **fields):
    plan = sweep(*args, **fields)
    actions = [*plan.actions, *plan.left]
    assert len(actions) == 1
    assert actions[0].reason
    return actions[0].step


def test_a_machine_that_matches_its_record_needs_no_step():
    plan = sweep([machine()], [record(serves=True)])
    assert (plan.actions, plan.left) == ((), ())


@pytest.mark.parametrize("owner", [None, "them"])
def test_machines_without_our_tag_are_ignored(owner):
    plan = sweep([machine(owner=owner), machine("z-g9", 9, owner=owner)])
    assert (plan.actions, plan.left) == ((), ())


def test_an_unrecorded_machine_of_a_route_that_has_another_is_destroyed():
    records = [record("a-g2", 2, serves=True)]
    assert step([machine(), machine("a-g2", 2)], records) is SweepStep.DESTROY


def test_an_unrecorded_machine_is_adopted_if_its_route_or_pool_lacks_it():
    assert step([machine()]) is SweepStep.ADOPT
    assert step([machine("pool-linode-east-3", 3)], routes=()) is SweepStep.ADOPT
    assert step([machine()], routes=()) is SweepStep.DESTROY


def test_a_planned_machine_that_exists_is_adopted():
    planned = record(recorded_as=RecordedAs.PLANNED, provider_id=None)
    assert step([machine()], [planned]) is SweepStep.ADOPT


def test_a_replaced_machine_that_still_exists_is_destroyed():
    records = [record(), record("a-g2", 2, serves=True)]
    assert step([machine(), machine("a-g2", 2)], records) is SweepStep.DESTROY


def test_a_machine_recorded_as_destroyed_is_destroyed_only_by_its_recorded_id():
    gone = record(recorded_as=RecordedAs.DESTROYED)
    assert step([machine()], [gone]) is SweepStep.DESTROY
    assert step([machine(provider_id="other")], [gone]) is SweepStep.ASK
    assert step([machine(generation=2)], [gone]) is SweepStep.ASK


def test_a_machine_whose_tag_contradicts_its_key_is_not_destroyed():
    assert step([machine(generation=None)], routes=()) is SweepStep.ASK


def test_a_serving_machine_without_our_tag_is_left_to_a_person():
    assert step([machine(owner=None)], [record(serves=True)]) is SweepStep.ASK


def test_two_machines_with_one_key_are_left_to_a_person():
    plan = sweep([machine(), machine(provider_id="twin")], routes=())
    assert [each.step for each in plan.left] == [SweepStep.ASK] * 2


def test_young_machines_and_machines_of_open_workflows_wait():
    assert step([machine(created_at=NOW - HOUR / 2)], routes=()) is SweepStep.WAIT
    assert step([machine()], workflows=["route/a"], routes=()) is SweepStep.WAIT
    pooled = machine("pool-linode-east-3", 3)
    assert step([pooled], workflows=["pool/linode/east"]) is SweepStep.WAIT
    assert step([machine(status=MachineStatus.DELETING)], routes=()) is SweepStep.WAIT
    assert step([machine(created_at=None)], routes=()) is SweepStep.ASK


def test_a_claimed_pool_machine_is_locked_by_its_routes_workflow():
    claimed = record("pool-linode-east-3", 3, route_id="a")
    pooled = machine("pool-linode-east-3", 3)
    records = [claimed, record("a-g9", 9, serves=True)]
    assert step([pooled, machine("a-g9", 9)], records) is SweepStep.DESTROY
    busy = sweep([pooled, machine("a-g9", 9)], records, workflows=["route/a"])
    assert busy.actions == ()


@pytest.mark.parametrize("serves_on_another", [True, False])
def test_a_draining_machine_is_destroyed_unless_something_works_on_it(serves_on_another):
    draining = record(draining=True)
    others = [record("a-g2", 2, serves=True)] if serves_on_another else []
    machines = [machine(), *(machine(each.key, 2) for each in others)]
    assert step(machines, [draining, *others]) is SweepStep.DESTROY
    for holder in ("machine/a-g1", "route/a"):
        assert step(machines, [draining, *others], workflows=[holder]) is SweepStep.WAIT
    assert lock_of_record(draining) == "machine/a-g1"
    assert lock_of_record(record()) == "route/a"


def test_a_removal_that_runs_keeps_its_machine_from_being_marked_lost():
    assert step([], [record(draining=True)], workflows=["machine/a-g1"]) is SweepStep.WAIT


def test_a_record_without_a_machine_is_marked_lost():
    assert step([], [record()]) is SweepStep.MARK_LOST
    young = record(recorded_at=NOW - HOUR / 2)
    assert step([], [young]) is SweepStep.WAIT
    assert step([], [record()], workflows=["route/a"]) is SweepStep.WAIT


def test_an_incomplete_listing_is_ignored():
    plan = sweep([machine("z-g1")], [record()], complete=False)
    assert (plan.actions, plan.left) == ((), ())


def test_records_of_other_providers_are_not_marked_lost():
    plan = sweep([], [record(provider="oci")])
    assert (plan.actions, plan.left) == ((), ())


def test_an_operation_whose_workflow_has_ended_is_closed_after_the_grace():
    old = OpenOperation(workflow_id="rollout/v1/fleet", run_id="r", opened_at=OLD)
    young = old.model_copy(update={"opened_at": NOW})
    assert step([], operations=[old]) is SweepStep.CLOSE
    assert step([], operations=[young]) is SweepStep.WAIT
    assert sweep([], operations=[old], workflows=[old.workflow_id]).actions == ()


def test_a_store_without_its_records_destroys_nothing():
    fleet = [machine(f"r{at}-g1") for at in range(10)]
    plan = sweep(fleet, routes=())
    assert plan.actions == ()
    assert plan.counts == {SweepStep.ASK: 10}
    assert "are our records whole?" in plan.left[0].reason


def test_an_empty_listing_marks_nothing_lost():
    records = [record(f"r{at}-g1", serves=True, gone_since=OLD) for at in range(10)]
    plan = sweep([], records)
    assert plan.actions == ()
    assert "is the listing whole?" in plan.left[0].reason


def test_a_sweep_takes_at_most_its_limit_of_steps_and_reports_the_rest():
    operations = [
        OpenOperation(workflow_id=f"w/{at:02}", run_id="r", opened_at=OLD) for at in range(25)
    ]
    plan = sweep([], operations=operations)
    assert (len(plan.actions), len(plan.left)) == (20, 5)
    assert plan.counts == {SweepStep.CLOSE: 25}


def destroyed_by(plan):
    return [each.machine for each in plan.actions if each.step is SweepStep.DESTROY]


ages = st.integers(0, 300).map(lambda minutes: NOW - minutes * HOUR / 60)
ROUTE_IDS = ["a", "b", "c-g1"]
KEYS = [
    *(machine_key(route_id, number) for route_id in ROUTE_IDS for number in (1, 2, 3)),
    *(pool_machine_key("linode", "east", number) for number in (1, 2, 3)),
    "web",
    "A-g1",
]
route_ids = st.sampled_from(ROUTE_IDS)


def numbered(key: str) -> int:
    digits = key.rpartition("-")[-1].lstrip("g")
    return int(digits) if digits.isdigit() else 1


def listed(key, facts, created_at):
    generation, owner, provider_id, status = facts
    return machine(
        key,
        numbered(key) if generation == "its own" else generation,
        owner=owner,
        provider_id=provider_id or f"id-{key}",
        created_at=created_at,
        status=status,
    )


def recorded(key, facts, recorded_at):
    (status, serves), provider_id, route_id = facts
    return record(
        key,
        numbered(key),
        recorded_as=status,
        recorded_at=recorded_at,
        provider_id=f"id-{key}" if provider_id else None,
        route_id=route_id,
        serves=serves,
    )


# Each machine and record is one choice from all combinations of facts: that is fast to draw.
listed_machines = st.builds(
    listed,
    st.sampled_from(KEYS),
    st.sampled_from(
        list(
            product(
                ["its own"] * 4 + [None, 7],
                ["us", "us", "us", "them", None],
                [None] * 4 + ["other"],
                MachineStatus,
            )
        )
    ),
    st.none() | ages,
)
recorded_machines = st.builds(
    recorded,
    st.sampled_from(KEYS),
    st.sampled_from(
        list(
            product(
                [*((status, False) for status in RecordedAs), (RecordedAs.RUNNING, True)],
                [True, False],
                [None, None, None, *ROUTE_IDS],
            )
        )
    ),
    ages,
)
views = st.builds(
    SweepView,
    listings=st.lists(listed_machines, max_size=10).map(lambda found: [listing(*found)]),
    open_workflows=st.frozensets(
        st.sampled_from(["route/a", "route/b", "route/c-g1", "pool/linode/east"])
    ),
    records=st.lists(recorded_machines, max_size=10, unique_by=lambda each: each.key),
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
def test_only_machines_that_are_ours_and_old_and_idle_are_destroyed(view):
    records = {each.key: each for each in view.records}
    copies = Counter(each.key for each in view.listings[0].machines)
    for found in destroyed_by(plan_sweep(view, POLICY, NOW)):
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
def test_too_many_mismatches_destroy_nothing(view):
    plan = plan_sweep(view, POLICY, NOW)
    ours = sum(each.owner == "us" for each in view.listings[0].machines)
    destroyed = len(destroyed_by(plan))
    assert destroyed < POLICY.min_mismatches or destroyed <= POLICY.max_mismatch_share * ours
    assert all(each.step in CHANGES for each in plan.actions)
    assert sum(plan.counts.values()) == len(plan.actions) + len(plan.left)


@given(views)
def test_nothing_is_marked_lost_that_exists_or_has_an_open_workflow(view):
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
def test_the_plan_does_not_depend_on_the_order_of_the_input(view, random):
    again = SweepView(
        listings=[listing(*shuffled(view.listings[0].machines, random))],
        open_workflows=view.open_workflows,
        records=shuffled(view.records, random),
        operations=shuffled(view.operations, random),
        route_ids=view.route_ids,
    )

    def steps_of(plan):
        return sorted(each.model_dump_json() for each in (*plan.actions, *plan.left))

    assert steps_of(plan_sweep(again, POLICY, NOW)) == steps_of(plan_sweep(view, POLICY, NOW))


def test_a_key_identifies_its_route_or_pool():
    assert pool_number("pool-linode-us-east-3", "linode", "us-east") == 3
    assert pool_number("pool-linode-us-east-3", "linode", "us") is None
    assert pool_number("pool-linode-us-east-03", "linode", "us-east") is None
    assert lock_of("eu-1-g12", "linode", "east") == "route/eu-1"
    assert lock_of("web", "linode", "east") is None
