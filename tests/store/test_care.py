"""What befell routes is read back as it was written, and no further than is asked."""

from datetime import UTC, datetime, timedelta

import pytest

from relight.domain.fault.fault import Fault, FaultClass
from relight.domain.remediation import Remediation, ReplacementPolicy, decide_remediation
from relight.store.errors import UnknownRouteError
from tests.store.fleets import (
    FAULT,
    HAND,
    ORIGIN,
    SEEN_AT,
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


def test_a_route_that_nothing_befell_has_no_history(store):
    serve(store)
    assert store.remediations.histories(since()) == {}


def test_a_history_says_how_the_route_stands_and_what_it_met(store):
    serve(store)
    store.routes.record_fault(failing(key="r-1-g1"), run_on().activity())
    history = history_of(store)
    assert (history.machine_key, history.proven_at, history.faulted) == ("r-1-g1", SEEN_AT, True)
    [met] = history.faults
    assert (met.kind, met.machine_key, met.fresh) == (FAULT.kind, "r-1-g1", True)
    assert met.at == store.events.list(kind="fault-recorded")[0].at


@pytest.mark.parametrize(
    ("kind", "fresh"),
    [("host-unreachable", True), ("command-timeout", True), ("connection-lost", False)],
)
def test_a_connection_that_broke_says_nothing_about_reaching_the_host(store, kind, fresh):
    serve(store)
    store.routes.record_fault(failing(fault=fault(kind), key="r-1-g1"), run_on().activity())
    assert [met.fresh for met in history_of(store).faults] == [fresh]


def test_repairs_and_replacements_are_counted_once_for_each_activity(store):
    serve(store)
    run = run_on()
    repairing, replacing = run.activity(), run.activity()
    for _ in range(2):
        store.remediations.repair_begun("r-1", repairing)
        store.remediations.replacement_begun("r-1", replacing)
    store.remediations.repair_begun("r-1", run.activity())
    history = history_of(store)
    assert [len(history.repairs), len(history.replacements)] == [2, 1]
    assert history.repairs == tuple(e.at for e in store.events.list(kind="repair-begun"))


def test_what_lies_further_back_is_not_told(store):
    serve(store)
    store.routes.record_fault(failing(key="r-1-g1"), run_on().activity())
    store.remediations.repair_begun("r-1", HAND)
    assert store.remediations.histories(datetime.now(UTC)) == {}


def test_a_fault_of_a_route_that_is_not_there_is_nobodys(store):
    store.routes.record_fault(failing("nobody"), run_on("nobody").activity())
    assert store.remediations.histories(since()) == {}


def test_a_quarantine_holds_until_a_person_ends_it(store):
    serve(store)
    quarantining = run_on().activity()
    for _ in range(2):
        store.remediations.quarantine("r-1", "three machines did not help", quarantining)
    store.remediations.quarantine("r-1", "once more", HAND)
    assert history_of(store).quarantined
    [event] = store.events.list(kind="route-quarantined")
    assert event.detail == {"reason": "three machines did not help"}
    assert store.remediations.release_from_quarantine("r-1", HAND)
    assert not store.remediations.release_from_quarantine("r-1", HAND)
    assert not history_of(store).quarantined


def test_what_was_tried_before_a_quarantine_ended_is_not_held_against_the_route(store):
    serve(store)
    for _ in range(3):
        store.routes.record_fault(failing(fault=fault("unit-disabled")), run_on().activity())
        store.remediations.repair_begun("r-1", HAND)
        store.remediations.replacement_begun("r-1", HAND)
    policy = ReplacementPolicy()
    later = datetime.now(UTC) + policy.repair_after
    assert decide_remediation(history_of(store), policy, later).remediation is Remediation.QUARANTINE
    store.remediations.quarantine("r-1", "three machines did not help", HAND)
    store.remediations.release_from_quarantine("r-1", HAND)
    history = history_of(store)
    assert (history.repairs, history.replacements, len(history.faults)) == ((), (), 3)
    assert decide_remediation(history, policy, later).remediation is Remediation.REPAIR


def test_who_asked_for_another_machine_is_on_record_until_it_is_taken_back(store):
    serve(store)
    asking = run_on().activity()
    for _ in range(2):
        store.remediations.ask_replacement("r-1", asking)
    assert history_of(store).asked_by == ORIGIN.requested_by
    assert store.remediations.clear_asked("r-1", HAND)
    assert not store.remediations.clear_asked("r-1", HAND)
    assert history_of(store).asked_by is None
    assert len(store.events.list(kind="replacement-asked")) == 1


def test_since_when_a_machine_is_gone_is_the_first_look_since_its_proof(store):
    serve(store)
    first = SEEN_AT + timedelta(hours=1)
    store.remediations.gone_since("r-1", first)
    store.remediations.gone_since("r-1", first + timedelta(hours=1))
    assert history_of(store).gone_since == first
    store.remediations.gone_since("r-1", None)
    assert history_of(store).gone_since is None
    store.remediations.gone_since("r-1", SEEN_AT - timedelta(hours=1))
    store.remediations.gone_since("r-1", first)  # it was proven in between
    assert history_of(store).gone_since == first


def test_a_route_that_is_not_there_is_refused_by_name(store):
    for write in (
        store.remediations.repair_begun,
        store.remediations.replacement_begun,
        store.remediations.ask_replacement,
        store.remediations.clear_asked,
        store.remediations.release_from_quarantine,
    ):
        with pytest.raises(UnknownRouteError, match="r-9"):
            write("r-9", HAND)
    with pytest.raises(UnknownRouteError, match="r-9"):
        store.remediations.gone_since("r-9", SEEN_AT)
    with pytest.raises(UnknownRouteError, match="r-9"):
        store.remediations.quarantine("r-9", "why", HAND)
