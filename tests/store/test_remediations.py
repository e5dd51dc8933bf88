"""Histories of routes contain what was recorded since the requested instant."""

from datetime import UTC, datetime, timedelta

import pytest

from relight.domain.fault.fault import Fault, FaultClass
from relight.domain.remediation import Remediation, ReplacementPolicy, decide_remediation
from relight.store.errors import UnknownRouteError
from tests.store.fleets import (
    FAULT,
    MANUAL,
    OBSERVED_AT,
    ORIGIN,
    failing,
    run_on,
    serve,
)

AGO = timedelta(hours=24)


def since(ago: timedelta = AGO) -> datetime:
    return datetime.now(UTC) - ago


def history_of(store, route_id="r-1"):
    return store.remediations.histories(since())[route_id]


def fault(kind: str) -> Fault:
    return Fault(kind=kind, fault_class=FaultClass.HOST, summary=kind)


def test_a_route_without_events_has_no_history(store):
    serve(store)
    assert store.remediations.histories(since()) == {}


def test_a_history_has_the_state_of_the_route_and_its_faults(store):
    serve(store)
    store.routes.record_fault(failing(key="r-1-g1"), run_on().activity())
    history = history_of(store)
    assert (history.machine_key, history.proven_at, history.faulted) == (
        "r-1-g1",
        OBSERVED_AT,
        True,
    )
    [observed] = history.faults
    assert (observed.kind, observed.machine_key, observed.fresh) == (FAULT.kind, "r-1-g1", True)
    assert observed.at == store.events.list(kind="fault-recorded")[0].at


@pytest.mark.parametrize(
    ("kind", "fresh"),
    [("host-unreachable", True), ("command-timeout", True), ("connection-lost", False)],
)
def test_a_fault_by_a_broken_connection_is_not_fresh(store, kind, fresh):
    serve(store)
    store.routes.record_fault(failing(fault=fault(kind), key="r-1-g1"), run_on().activity())
    assert [observed.fresh for observed in history_of(store).faults] == [fresh]


def test_each_activity_counts_as_one_repair_or_replacement(store):
    serve(store)
    run = run_on()
    repairing, replacing = run.activity(), run.activity()
    for _ in range(2):
        store.remediations.record_repair("r-1", repairing)
        store.remediations.record_replacement("r-1", replacing)
    store.remediations.record_repair("r-1", run.activity())
    history = history_of(store)
    assert [len(history.repairs), len(history.replacements)] == [2, 1]
    assert history.repairs == tuple(e.at for e in store.events.list(kind="repair-begun"))


def test_earlier_events_are_left_out(store):
    serve(store)
    store.routes.record_fault(failing(key="r-1-g1"), run_on().activity())
    store.remediations.record_repair("r-1", MANUAL)
    assert store.remediations.histories(datetime.now(UTC)) == {}


def test_a_fault_of_an_unknown_route_is_left_out(store):
    store.routes.record_fault(failing("unknown"), run_on("unknown").activity())
    assert store.remediations.histories(since()) == {}


def test_a_quarantine_holds_until_it_is_ended(store):
    serve(store)
    quarantining = run_on().activity()
    for _ in range(2):
        store.remediations.quarantine("r-1", "three machines did not help", quarantining)
    store.remediations.quarantine("r-1", "once more", MANUAL)
    assert history_of(store).quarantined
    [event] = store.events.list(kind="route-quarantined")
    assert event.detail == {"reason": "three machines did not help"}
    assert store.remediations.end_quarantine("r-1", MANUAL)
    assert not store.remediations.end_quarantine("r-1", MANUAL)
    assert not history_of(store).quarantined


def test_repairs_and_replacements_before_the_end_of_a_quarantine_do_not_count(store):
    serve(store)
    for _ in range(3):
        store.routes.record_fault(failing(fault=fault("unit-disabled")), run_on().activity())
        store.remediations.record_repair("r-1", MANUAL)
        store.remediations.record_replacement("r-1", MANUAL)
    policy = ReplacementPolicy()
    later = datetime.now(UTC) + policy.repair_after
    assert (
        decide_remediation(history_of(store), policy, later).remediation is Remediation.QUARANTINE
    )
    store.remediations.quarantine("r-1", "three machines did not help", MANUAL)
    store.remediations.end_quarantine("r-1", MANUAL)
    history = history_of(store)
    assert (history.repairs, history.replacements, len(history.faults)) == ((), (), 3)
    assert decide_remediation(history, policy, later).remediation is Remediation.REPAIR


def test_a_requested_replacement_is_kept_until_it_is_cancelled(store):
    serve(store)
    requesting = run_on().activity()
    for _ in range(2):
        store.remediations.request_replacement("r-1", requesting)
    assert history_of(store).replacement_requested_by == ORIGIN.requested_by
    assert store.remediations.cancel_replacement_request("r-1", MANUAL)
    assert not store.remediations.cancel_replacement_request("r-1", MANUAL)
    assert history_of(store).replacement_requested_by is None
    assert len(store.events.list(kind="replacement-requested")) == 1


def test_a_machine_is_gone_since_the_first_observation_after_its_proof(store):
    serve(store)
    first = OBSERVED_AT + timedelta(hours=1)
    store.remediations.record_gone_since("r-1", first)
    store.remediations.record_gone_since("r-1", first + timedelta(hours=1))
    assert history_of(store).gone_since == first
    store.remediations.record_gone_since("r-1", None)
    assert history_of(store).gone_since is None
    store.remediations.record_gone_since("r-1", OBSERVED_AT - timedelta(hours=1))
    store.remediations.record_gone_since("r-1", first)  # the machine was proven in between
    assert history_of(store).gone_since == first


def test_an_unknown_route_is_refused(store):
    for write in (
        store.remediations.record_repair,
        store.remediations.record_replacement,
        store.remediations.request_replacement,
        store.remediations.cancel_replacement_request,
        store.remediations.end_quarantine,
    ):
        with pytest.raises(UnknownRouteError, match="r-9"):
            write("r-9", MANUAL)
    with pytest.raises(UnknownRouteError, match="r-9"):
        store.remediations.record_gone_since("r-9", OBSERVED_AT)
    with pytest.raises(UnknownRouteError, match="r-9"):
        store.remediations.quarantine("r-9", "reason", MANUAL)
