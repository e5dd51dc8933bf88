"""What a sweep does about machines that are newer than the record, or missing in a listing."""

import pytest

from relight.domain.machine import RecordedAs
from relight.domain.names import machine_workflow_id
from relight.domain.sweep.sweep import SweepStep
from tests.domain.fleets import HOUR, NOW
from tests.domain.sweep.test_planner import MINUTE, OLD, machine, record, step, sweep


@pytest.mark.parametrize("facts", [{"serves": True}, {"in_pool": True, "route_id": None}])
def test_a_machine_in_use_is_marked_lost_only_if_listings_lack_it_for_a_while(facts):
    assert step([], [record(**facts)]) is SweepStep.WAIT
    assert step([], [record(gone_since=NOW - MINUTE, **facts)]) is SweepStep.WAIT
    assert step([], [record(gone_since=NOW - HOUR, **facts)]) is SweepStep.MARK_LOST


def test_a_machine_that_was_relabelled_is_not_lost():
    relabelled = machine("web", None, provider_id="id-a-g1")
    plan = sweep([relabelled], [record(serves=True, gone_since=OLD)])
    assert SweepStep.MARK_LOST not in plan.counts


@pytest.mark.parametrize("serves", [True, False])
@pytest.mark.parametrize("routes", [("a",), ()])
def test_a_machine_that_is_newer_than_the_record_is_doubt_about_the_record(serves, routes):
    """Neither destroyed, though its route has another machine, nor adopted, if it has none."""
    records = [record("a-g2", 2, serves=serves)]
    machines = [machine("a-g2", 2), machine("a-g3", 3)]
    found = sweep(machines, records, routes=routes, newest={"a-g": 2})
    doubted = [each for each in found.left if each.step is SweepStep.DOUBT]
    assert [each.key for each in doubted] == ["a-g3"]
    assert "the newest on record is a-g2" in doubted[0].reason
    assert step([machine("pool-linode-east-3", 3)], newest={}) is SweepStep.DOUBT


def test_a_planned_machine_is_doubt_if_the_one_that_serves_on_record_does_not_exist():
    planned = record("a-g2", 2, recorded_as=RecordedAs.PLANNED, provider_id=None)
    records = [record(serves=True), planned]
    plan = sweep([machine("a-g2", 2)], records)
    assert plan.actions == ()
    assert SweepStep.DOUBT in plan.counts
    both = sweep([machine(), machine("a-g2", 2)], records)
    assert both.counts == {SweepStep.DESTROY: 1}


@pytest.mark.parametrize("serves", [True, False])
def test_a_removal_of_a_machine_that_serves_on_record_is_doubt_about_the_record(serves):
    """It began once another machine served, and that was on record then."""
    running = {machine_workflow_id("a-g1")}
    plan = sweep([machine()], [record(serves=serves)], workflows=running)
    assert (SweepStep.DOUBT in plan.counts) == serves
    assert SweepStep.DOUBT not in sweep([machine()], [record(serves=serves)]).counts


@pytest.mark.parametrize(
    "facts", [{"owner": "them"}, {"generation": 7}, {"generation": None}], ids=str
)
def test_what_is_not_clearly_ours_says_nothing_about_the_record(facts):
    plan = sweep([machine("a-g3", **{"generation": 3, **facts})], newest={})
    assert SweepStep.DOUBT not in plan.counts
