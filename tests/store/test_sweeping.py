"""What a sweep reads, and the records that it puts right."""

from datetime import UTC, datetime, timedelta

import pytest

from relight.domain.disruption import take_census
from relight.domain.pool.pool import PoolStatus
from relight.domain.remediation import Remediation, ReplacementPolicy, decide_remediation
from relight.domain.route import RouteStatus
from relight.domain.sweep.sweep import RecordedAs
from relight.store.errors import (
    UnknownMachineError,
    UnknownRouteError,
    WrongMachineError,
)
from relight.store.rollout_routes import Chosen
from tests.store.fleets import (
    HAND,
    failing,
    machine,
    opening,
    proving,
    recording,
    rollout_run,
    route_of,
    run_on,
    serve,
    statuses,
)
from tests.store.pools import made_ready, planned
from tests.store.test_pool import claim
from tests.store.test_rollouts import claiming
from tests.store.test_succession import succeed


def remediation_of(store, after=timedelta(0)):
    now = datetime.now(UTC)
    history = store.remediations.histories(now - timedelta(hours=24))["r-1"]
    return decide_remediation(history, ReplacementPolicy(), now + after)


def on_record(store):
    return {record.key: record for record in store.sweeping.on_record()}


def test_every_machine_is_on_record_as_a_sweep_knows_it(store):
    serve(store)
    succeed(store)
    key, coming = made_ready(store), planned(store)
    records = on_record(store)
    assert {key: record.recorded_as for key, record in records.items()} == {
        "r-1-g1": RecordedAs.RUNNING,
        "r-1-g2": RecordedAs.RUNNING,
        key: RecordedAs.RUNNING,
        coming: RecordedAs.PLANNED,
    }
    assert [key for key, record in records.items() if record.serves] == ["r-1-g2"]
    assert (records[key].route_id, records[key].generation) == (None, 1)
    assert (records[coming].generation, records[coming].provider_id) == (2, None)
    assert records["r-1-g2"].generation == 2


def test_the_generation_of_a_claimed_machine_is_that_of_its_tag(store):
    serve(store)
    key = made_ready(store)
    assert claim(store).generation == 2
    assert (on_record(store)[key].generation, on_record(store)[key].route_id) == (1, "r-1")


def test_what_is_under_way_by_our_record_is_told(store):
    serve(store)
    rollout, route = rollout_run(), run_on()
    store.rollouts.open(claiming(), rollout.activity())
    store.disruptions.take("r-1", "dead", route.activity(), lambda ids, seen: Chosen(ids))
    first, second = store.sweeping.operations()
    assert (first.workflow_id, first.run_id) == (rollout.workflow_id, rollout.run_id)
    assert (second.workflow_id, second.route_id) == (route.workflow_id, "r-1")
    assert store.sweeping.route_ids() == {"r-1"}


def test_a_route_whose_machine_is_lost_is_out_and_is_replaced(store):
    serve(store)
    losing = run_on().activity()
    for _ in range(2):
        store.sweeping.mark_lost("r-1-g1", losing)
    route = route_of(store)
    assert route.status is RouteStatus.FAULTED
    assert route.machine is not None
    assert route.fault is not None
    assert route.fault.kind == "machine-failed"
    assert take_census([route]).out == {"r-1"}
    assert on_record(store)["r-1-g1"].recorded_as is RecordedAs.LOST
    decision = remediation_of(store, after=ReplacementPolicy().gone_for)
    assert (decision.remediation, decision.unreachable) == (Remediation.REPLACE, True)
    assert len(store.events.list(kind="machine-lost")) == 1
    assert succeed(store).key == "r-1-g1"
    assert route_of(store).status is RouteStatus.SERVING


def test_a_machine_that_was_lost_and_is_back_is_adopted_and_looked_at(store):
    serve(store)
    store.sweeping.mark_lost("r-1-g1", HAND)
    store.sweeping.adopt(machine("r-1-g1"), HAND)
    assert statuses(store) == [("r-1-g1", "running")]
    decision = remediation_of(store, after=timedelta(minutes=30))
    assert decision.remediation is Remediation.VERIFY
    store.routes.record_proof(proving(at=datetime.now(UTC)), run_on().activity())
    assert remediation_of(store).remediation is Remediation.LEAVE_ALONE


def test_a_machine_of_the_pool_that_is_lost_is_faulted_there(store):
    key = made_ready(store)
    store.sweeping.mark_lost(key, HAND)
    [member] = store.pool.list()
    assert member.status is PoolStatus.FAULTED
    serve(store)
    assert claim(store) is None


def test_what_is_destroyed_is_neither_lost_nor_adopted(store):
    serve(store)
    succeed(store)
    store.destructions.record("r-1-g1", HAND, reason="replaced")
    store.sweeping.mark_lost("r-1-g1", HAND)
    assert statuses(store)[0] == ("r-1-g1", "destroyed")
    with pytest.raises(WrongMachineError, match="r-1-g1 is destroyed"):
        store.sweeping.adopt(machine("r-1-g1"), HAND)
    with pytest.raises(UnknownMachineError, match="r-9-g1"):
        store.sweeping.mark_lost("r-9-g1", HAND)


def test_a_machine_that_was_planned_and_is_there_is_given_to_its_route(store):
    store.routes.open(opening(), run_on().activity())
    adopting = run_on().activity()
    for _ in range(2):
        store.sweeping.adopt(machine(), adopting)
    route = route_of(store)
    assert (route.status, route.machine) == (RouteStatus.FAULTED, machine())
    assert remediation_of(store).remediation is Remediation.REPAIR
    assert len(store.events.list(kind="machine-adopted")) == 1
    store.routes.record_proof(proving(), run_on().activity())
    assert route_of(store).status is RouteStatus.SERVING


def test_a_machine_that_is_not_on_record_is_written_down_as_what_its_key_says(store):
    run = run_on()
    store.routes.open(opening(), run.activity())
    store.routes.record_fault(failing(key="r-1-g1", destroyed=True), run.activity())
    store.sweeping.adopt(machine("r-1-g4"), HAND)
    assert statuses(store) == [("r-1-g1", "destroyed"), ("r-1-g4", "running")]
    assert route_of(store).machine == machine("r-1-g4")
    store.sweeping.adopt(machine("pool-lab-east-7"), HAND)
    [member] = store.pool.list()
    assert (member.key, member.status) == ("pool-lab-east-7", PoolStatus.FAULTED)
    assert planned(store) == "pool-lab-east-8"
    for key in ("r-9-g1", "r-1-7", "somebodys", "pool-lab-west-1"):
        with pytest.raises(UnknownRouteError, match=key):
            store.sweeping.adopt(machine(key), HAND)


def test_a_generation_that_a_machine_of_the_pool_has_is_not_given_twice(store):
    serve(store)
    key = made_ready(store)
    run = run_on()
    claimed = claim(store, activity=run.activity())
    store.replacements.attach("r-1", claimed.machine, proving().proof, run.activity())
    store.sweeping.adopt(machine("r-1-g2"), HAND)
    generations = {record.key: record.generation for record in store.machines.list("r-1")}
    assert generations == {"r-1-g1": 1, key: 2, "r-1-g2": 3}
    assert on_record(store)["r-1-g2"].generation == 2
    assert store.replacements.plan("r-1", run_on().activity()).machine_key == "r-1-g2"


def test_a_machine_of_another_id_is_not_the_one_on_record(store):
    store.routes.open(opening(), run_on().activity())
    store.routes.record_machine(recording(), run_on().activity())
    other = machine().model_copy(update={"provider_id": "another"})
    with pytest.raises(WrongMachineError, match="by the id id-of-r-1-g1, not another"):
        store.sweeping.adopt(other, HAND)
