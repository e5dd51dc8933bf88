"""What a route needs, and which machine may be destroyed for it."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.domain.fault.table import RULES, Remedy
from relight.domain.machine import MachineStatus
from relight.domain.remediation import (
    ObservedFault,
    Remediation,
    ReplacementPolicy,
    RouteHistory,
    decide_remediation,
    means_unreachable,
    observation_of,
    why_not_destroy,
)
from relight.domain.sweep.sweep import (
    MachineAtProvider,
    MachineOnRecord,
    RecordedAs,
)
from tests.domain.fleets import (
    HOUR,
    NOW,
    route,
)

POLICY = ReplacementPolicy()
MINUTE = timedelta(minutes=1)
FACTS = ("key", "provider", "provider_id", "generation")


def fault(kind: str, ago: timedelta, fresh: bool = True, machine_key: str | None = "a-g1"):
    return ObservedFault(at=NOW - ago, kind=kind, fresh=fresh, machine_key=machine_key)


def history(*faults: ObservedFault, **what) -> RouteHistory:
    return RouteHistory(**{"route_id": "a", "machine_key": "a-g1", "faults": faults, **what})


def decide(*faults: ObservedFault, **what):
    return decide_remediation(history(*faults, **what), POLICY, NOW).remediation


UNREACHED = [fault("host-unreachable", ago * MINUTE) for ago in (20, 12, 4)]

past = st.integers(0, 60 * 30).map(lambda minutes: NOW - minutes * MINUTE)
faults = st.builds(
    ObservedFault,
    at=past,
    kind=st.sampled_from([*RULES, "unheard-of"])
    | st.sampled_from(["host-unreachable", "command-timeout", "transaction-lost"]),
    machine_key=st.sampled_from(["a-g1", "a-g1", "a-g1", "a-g0", None]),
    fresh=st.booleans(),
)
histories = st.builds(
    RouteHistory,
    route_id=st.just("a"),
    machine_key=st.sampled_from(["a-g1", "a-g1", None]),
    proven_at=st.none() | past,
    faults=st.lists(faults, max_size=8).map(tuple),
    repairs=st.lists(past, max_size=4).map(tuple),
    replacements=st.lists(past, max_size=5).map(tuple),
    gone_since=st.none() | past,
    asked_by=st.sampled_from([None, None, None, "ann"]),
    faulted=st.booleans(),
    quarantined=st.sampled_from([False, False, True]),
)


def test_a_route_that_nothing_is_known_against_is_left_alone():
    assert decide() is Remediation.LEAVE_ALONE


def test_repeated_failures_over_time_from_fresh_connections_replace_the_machine():
    decision = decide_remediation(history(*UNREACHED), POLICY, NOW)
    assert decision.remediation is Remediation.REPLACE
    assert decision.unreachable
    assert "3 operations by fresh connections" in decision.reason


@pytest.mark.parametrize(
    "seen",
    [
        UNREACHED[:2],
        [fault("host-unreachable", ago * MINUTE) for ago in (6, 5, 4)],
        [*UNREACHED[:2], fault("host-unreachable", 4 * MINUTE, fresh=False)],
        [*UNREACHED[:2], fault("host-unreachable", 4 * MINUTE, machine_key="a-g0")],
        [UNREACHED[0], fault("disk-full", 15 * MINUTE), *UNREACHED[1:]],
    ],
    ids=["too few", "too close", "a broken link", "another machine", "somebody got through"],
)
def test_less_than_that_is_looked_at_again(seen):
    assert decide(*seen) in {Remediation.VERIFY, Remediation.LEAVE_ALONE}


def test_a_look_comes_no_sooner_than_a_pause_after_the_last():
    assert decide(fault("host-unreachable", MINUTE)) is Remediation.LEAVE_ALONE
    assert decide(fault("host-unreachable", 3 * MINUTE)) is Remediation.VERIFY


def test_what_repair_does_not_cure_is_replaced():
    first, second, third = (fault("stale-process", ago * MINUTE) for ago in (60, 40, 20))
    assert decide(first) is Remediation.REPAIR
    one = NOW - 50 * MINUTE
    assert decide(first, second, repairs=[one]) is Remediation.REPAIR
    two = NOW - 30 * MINUTE
    assert decide(first, second, third, repairs=[one, two]) is Remediation.REPLACE
    cured = history(first, second, third, repairs=[one, two], proven_at=NOW - 10 * MINUTE)
    assert decide_remediation(cured, POLICY, NOW).remediation is Remediation.LEAVE_ALONE


def test_a_repair_that_has_just_begun_is_waited_for():
    assert decide(fault("stale-process", HOUR), repairs=[NOW - MINUTE]) is Remediation.LEAVE_ALONE


def test_a_route_replaced_so_often_is_quarantined():
    replaced = [NOW - hours * HOUR for hours in (20, 10, 5)]
    assert decide(*UNREACHED, replacements=replaced) is Remediation.QUARANTINE
    assert decide(*UNREACHED, replacements=replaced[1:]) is Remediation.REPLACE
    longer_ago = [NOW - hours * HOUR for hours in (24, 10, 5)]
    assert decide(*UNREACHED, replacements=longer_ago) is Remediation.REPLACE


def test_a_machine_that_its_provider_does_not_have_is_replaced_once_it_said_so_for_a_while():
    assert decide(gone_since=NOW - 4 * MINUTE) is Remediation.LEAVE_ALONE
    assert decide(gone_since=NOW - 5 * MINUTE) is Remediation.REPLACE
    proven = {"gone_since": NOW - HOUR, "proven_at": NOW - MINUTE}
    assert decide(**proven) is Remediation.LEAVE_ALONE


def test_a_persons_word_replaces_even_what_is_in_quarantine():
    assert decide(asked_by="ann", quarantined=True) is Remediation.REPLACE


def test_another_host_key_is_never_repaired_nor_replaced():
    assert decide(fault("host-key-mismatch", HOUR), *UNREACHED) is Remediation.LEAVE_ALONE


def test_a_route_that_is_faulted_for_longer_than_anybody_looked_is_looked_at():
    assert decide(fault("disk-full", 30 * HOUR), faulted=True) is Remediation.VERIFY


def test_what_no_host_is_to_blame_for_is_looked_at_again_where_it_took_a_route_out():
    met = fault("route-busy", HOUR)
    assert decide(met, faulted=True) is Remediation.VERIFY
    assert decide(met) is Remediation.LEAVE_ALONE


def test_a_machine_that_is_gone_is_out_of_reach_until_it_is_proven():
    proven = route("a").model_copy(update={"proven_at": NOW - HOUR})
    for gone_since, reached in ((NOW - MINUTE, False), (NOW - 2 * HOUR, True)):
        look = observation_of(proven, history(gone_since=gone_since))
        assert look is not None
        assert look.reached is reached


def test_a_route_without_a_machine_is_given_one_where_its_last_one_was_to_blame():
    lost = fault("first-boot-failed", HOUR, machine_key="a-g0")
    assert decide(lost, machine_key=None) is Remediation.REPLACE
    refused = fault("provider-refused", HOUR, machine_key=None)
    assert decide(refused, machine_key=None) is Remediation.LEAVE_ALONE


@given(histories)
def test_nothing_is_done_about_what_a_person_or_nobody_has_to_mend(case):
    decision = decide_remediation(case, POLICY, NOW)
    if decision.remediation in {Remediation.REPAIR, Remediation.REPLACE} and case.asked_by is None:
        assert not case.quarantined
        gone = case.gone_since is not None and NOW - case.gone_since >= POLICY.gone_for
        counted = [
            each for each in case.faults if case.proven_at is None or each.at > case.proven_at
        ]
        remedies = {RULES[each.kind].remedy for each in counted if each.kind in RULES}
        assert gone or remedies & {Remedy.REPAIR, Remedy.REPLACE}


@given(histories)
def test_a_machine_that_serves_is_replaced_on_enough_evidence_alone(case):
    decision = decide_remediation(case, POLICY, NOW)
    if decision.remediation is not Remediation.REPLACE or case.asked_by or case.machine_key is None:
        return
    here = [each for each in case.faults if each.machine_key in (None, case.machine_key)]
    times = [each.at for each in here if each.fresh and means_unreachable(each.kind)]
    over_time = (
        len(times) >= POLICY.unreachable_observations
        and max(times) - min(times) >= POLICY.unreachable_for
    )
    gone = case.gone_since is not None and NOW - case.gone_since >= POLICY.gone_for
    assert gone or over_time or len(case.repairs) >= POLICY.repairs


@given(histories)
def test_k_replacements_in_a_window_are_never_followed_by_another_without_a_person(case):
    recent = [at for at in case.replacements if NOW - at < POLICY.window]
    decision = decide_remediation(case, POLICY, NOW)
    if decision.remediation is Remediation.REPLACE and case.asked_by is None:
        assert len(recent) < POLICY.replacements
    if decision.remediation is Remediation.QUARANTINE:
        assert case.quarantined or len(recent) >= POLICY.replacements


@given(histories, st.randoms())
def test_the_order_of_what_is_known_changes_nothing(case, random):
    mixed = list(case.faults)
    random.shuffle(mixed)
    again = case.model_copy(
        update={"faults": tuple(mixed), "repairs": tuple(reversed(case.repairs))}
    )
    assert decide_remediation(again, POLICY, NOW) == decide_remediation(case, POLICY, NOW)


@given(histories)
def test_every_treatment_says_why(case):
    decision = decide_remediation(case, POLICY, NOW)
    assert decision.route_id == "a"
    assert decision.reason


def test_the_last_look_is_the_last_thing_that_speaks_of_the_host():
    proven = route("a").model_copy(update={"proven_at": NOW - HOUR})

    def reached(*met):
        look = observation_of(proven, history(*met))
        return look is not None and look.reached

    assert reached()
    assert not reached(*UNREACHED)
    assert reached(*UNREACHED, fault("disk-full", MINUTE))
    assert not reached(*UNREACHED, fault("repository-unavailable", MINUTE))
    assert observation_of(route("a", architecture=None), history()) is None


def seen(**what) -> MachineAtProvider:
    facts = {
        "key": "a-g1",
        "generation": 1,
        "provider": "linode",
        "provider_id": "77",
        "region": "east",
        "architecture": "amd64",
        "status": MachineStatus.RUNNING,
        "owner": "us",
        "created_at": NOW - 5 * HOUR,
    }
    return MachineAtProvider(**{**facts, **what})


def recorded(**what) -> MachineOnRecord:
    facts = {
        "key": "a-g1",
        "generation": 1,
        "provider": "linode",
        "provider_id": "77",
        "region": "east",
        "recorded_as": RecordedAs.RUNNING,
        "recorded_at": NOW - 5 * HOUR,
        "route_id": "a",
    }
    return MachineOnRecord(**{**facts, **what})


def test_the_very_machine_on_record_may_be_destroyed_once_it_serves_nobody():
    assert why_not_destroy(recorded(), seen(), "us") is None
    assert "serves route a" in str(why_not_destroy(recorded(serves=True), seen(), "us"))


@pytest.mark.parametrize(
    ("differs", "said"),
    [
        ({"key": "a-g2"}, "its key"),
        ({"provider": "oci"}, "its provider"),
        ({"provider_id": "78"}, "its id"),
        ({"generation": 2}, "its generation"),
        ({"generation": None}, "its generation"),
        ({"owner": "them"}, "the ownership tag them"),
        ({"owner": None}, "no ownership tag"),
    ],
)
def test_a_machine_that_differs_in_one_name_alone_is_not_destroyed(differs, said):
    assert said in str(why_not_destroy(recorded(), seen(**differs), "us"))


@given(
    st.sampled_from(["a-g1", "a-g2"]),
    st.sampled_from([1, 2, None]),
    st.sampled_from(["linode", "oci"]),
    st.sampled_from(["77", "78"]),
    st.sampled_from(["us", "them", None, ""]),
    st.sampled_from([None, "77"]),
)
def test_no_machine_is_destroyed_unless_all_its_names_and_its_tag_match(
    key, generation, provider, provider_id, owner, known_id
):
    machine = seen(
        key=key, generation=generation, provider=provider, provider_id=provider_id, owner=owner
    )
    record = recorded(provider_id=known_id)
    same = all(getattr(machine, fact) == getattr(record, fact) for fact in FACTS)
    assert (why_not_destroy(record, machine, "us") is None) is (same and owner == "us")
    assert why_not_destroy(None, machine, "us") is not None
