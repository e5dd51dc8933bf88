"""What a sweep reads, and how it corrects the records."""

from datetime import UTC, datetime, timedelta

import pytest

from relight.domain.disruption import take_census
from relight.domain.machine import RecordedAs
from relight.domain.pool.pool import PoolStatus
from relight.domain.remediation import Remediation, ReplacementPolicy, decide_remediation
from relight.domain.route import RouteStatus
from relight.store.errors import (
    UnknownMachineError,
    UnknownRouteError,
    WrongMachineError,
)
from relight.store.rollout_choice import Chosen
from tests.store.fleets import (
    MANUAL,
    failing,
    machine,
    opening,
    opening_rollout,
    proving,
    recording,
    replace_machine,
    rollout_run,
    route_of,
    run_on,
    serve,
    statuses,
)
from tests.store.pools import claim, made_ready, planned


def remediation_of(store, after=timedelta(0)):
    now = datetime.now(UTC)
    history = store.remediations.histories(now - timedelta(hours=24))["r-1"]
    history = history.model_copy(update={"absent": history.gone_since is not None})
    return decide_remediation(history, ReplacementPolicy(), now + after)


def recorded(store, *listed):
    return {record.key: record for record in store.sweeps.machines(listed)}


def test_a_destroyed_machine_is_read_only_if_it_is_listed(store):
    serve(store)
    old = replace_machine(store)
    store.destructions.record("r-1-g1", MANUAL, reason="it was replaced")
    assert set(recorded(store)) == {"r-1-g2"}
    assert recorded(store, "r-1-g1", "r-1-g2")["r-1-g1"].recorded_as is RecordedAs.DESTROYED
    # More than one query's worth.
    assert set(recorded(store, *(f"r-1-g{number}" for number in range(3000)))) == {
        "r-1-g1",
        "r-1-g2",
    }
    assert old


def test_every_machine_is_read_with_its_recorded_status(store):
    serve(store)
    replace_machine(store)
    key, coming = made_ready(store), planned(store)
    records = recorded(store)
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


def test_the_generation_of_a_claimed_machine_is_that_of_its_key(store):
    serve(store)
    key = made_ready(store)
    assert claim(store).generation == 2
    assert (recorded(store)[key].generation, recorded(store)[key].route_id) == (1, "r-1")


def test_open_rollouts_and_claims_are_open_operations(store):
    serve(store)
    rollout, route = rollout_run(), run_on()
    store.rollouts.open(opening_rollout(), rollout.activity())
    store.disruptions.take("r-1", "dead", route.activity(), lambda ids, _snapshot: Chosen(ids))
    first, second = store.sweeps.open_operations()
    assert (first.workflow_id, first.run_id) == (rollout.workflow_id, rollout.run_id)
    assert (second.workflow_id, second.route_id) == (route.workflow_id, "r-1")
    assert store.sweeps.route_ids() == {"r-1"}


def test_a_route_whose_machine_is_lost_is_out_until_it_is_replaced(store):
    serve(store)
    losing = run_on().activity()
    for _ in range(2):
        store.sweeps.mark_lost("r-1-g1", losing)
    route = route_of(store)
    assert route.status is RouteStatus.FAULTED
    assert route.machine is not None
    assert route.fault is not None
    assert route.fault.kind == "machine-failed"
    assert take_census([route]).out == {"r-1"}
    assert recorded(store)["r-1-g1"].recorded_as is RecordedAs.LOST
    decision = remediation_of(store, after=ReplacementPolicy().gone_for)
    assert (decision.remediation, decision.unreachable) == (Remediation.REPLACE, True)
    assert len(store.events.list(kind="machine-lost")) == 1
    assert replace_machine(store).key == "r-1-g1"
    assert route_of(store).status is RouteStatus.SERVING


def test_a_lost_machine_that_is_found_is_adopted_and_verified(store):
    serve(store)
    store.sweeps.mark_lost("r-1-g1", MANUAL)
    store.sweeps.adopt(machine("r-1-g1"), MANUAL)
    assert statuses(store) == [("r-1-g1", "running")]
    decision = remediation_of(store, after=timedelta(minutes=30))
    assert decision.remediation is Remediation.VERIFY
    store.routes.record_proof(proving(at=datetime.now(UTC)), run_on().activity())
    assert remediation_of(store).remediation is Remediation.LEAVE_ALONE


def test_a_lost_pool_machine_is_faulted(store):
    key = made_ready(store)
    store.sweeps.mark_lost(key, MANUAL)
    [member] = store.pool.list()
    assert member.status is PoolStatus.FAULTED
    serve(store)
    assert claim(store) is None


def test_a_destroyed_machine_is_neither_lost_nor_adopted(store):
    serve(store)
    replace_machine(store)
    store.destructions.record("r-1-g1", MANUAL, reason="replaced")
    store.sweeps.mark_lost("r-1-g1", MANUAL)
    assert statuses(store)[0] == ("r-1-g1", "destroyed")
    with pytest.raises(WrongMachineError, match="r-1-g1 is destroyed"):
        store.sweeps.adopt(machine("r-1-g1"), MANUAL)
    with pytest.raises(UnknownMachineError, match="r-9-g1"):
        store.sweeps.mark_lost("r-9-g1", MANUAL)


def test_a_planned_machine_that_is_found_is_given_to_its_route(store):
    store.routes.open(opening(), run_on().activity())
    adopting = run_on().activity()
    for _ in range(2):
        store.sweeps.adopt(machine(), adopting)
    route = route_of(store)
    assert (route.status, route.machine) == (RouteStatus.FAULTED, machine())
    assert remediation_of(store).remediation is Remediation.REPAIR
    assert len(store.events.list(kind="machine-adopted")) == 1
    store.routes.record_proof(proving(), run_on().activity())
    assert route_of(store).status is RouteStatus.SERVING


def test_an_unrecorded_machine_is_recorded_by_its_key(store):
    run = run_on()
    store.routes.open(opening(), run.activity())
    store.routes.record_fault(failing(key="r-1-g1", destroyed=True), run.activity())
    store.sweeps.adopt(machine("r-1-g4"), MANUAL)
    assert statuses(store) == [("r-1-g1", "destroyed"), ("r-1-g4", "running")]
    assert route_of(store).machine == machine("r-1-g4")
    store.sweeps.adopt(machine("pool-lab-east-7"), MANUAL)
    [member] = store.pool.list()
    assert (member.key, member.status) == ("pool-lab-east-7", PoolStatus.FAULTED)
    assert planned(store) == "pool-lab-east-8"
    for key in ("r-9-g1", "r-1-7", "unknown", "pool-lab-west-1"):
        with pytest.raises(UnknownRouteError, match=key):
            store.sweeps.adopt(machine(key), MANUAL)


def test_the_generation_of_a_claimed_pool_machine_is_not_used_twice(store):
    serve(store)
    key = made_ready(store)
    run = run_on()
    claimed = claim(store, activity=run.activity())
    store.replacements.attach("r-1", claimed.machine, proving().proof, run.activity())
    store.sweeps.adopt(machine("r-1-g2"), MANUAL)
    generations = {record.key: record.generation for record in store.machines.list("r-1")}
    assert generations == {"r-1-g1": 1, key: 2, "r-1-g2": 3}
    assert recorded(store)["r-1-g2"].generation == 2
    assert store.replacements.plan("r-1", run_on().activity()).machine_key == "r-1-g2"


def test_a_machine_with_another_provider_id_is_refused(store):
    store.routes.open(opening(), run_on().activity())
    store.routes.record_machine(recording(), run_on().activity())
    other = machine().model_copy(update={"provider_id": "another"})
    with pytest.raises(WrongMachineError, match="by the id id-of-r-1-g1, not another"):
        store.sweeps.adopt(other, MANUAL)
