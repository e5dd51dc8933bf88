"""Which remediation a route needs."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.domain.fault.rule import Remedy
from relight.domain.fault.table import RULES
from relight.domain.remediation import Remediation, ReplacementPolicy, decide_remediation
from relight.domain.route_history import (
    ObservedFault,
    RouteHistory,
    means_unreachable,
    observation_of,
)
from tests.domain.fleets import (
    HOUR,
    NOW,
    route,
    shuffled,
)

POLICY = ReplacementPolicy()
MINUTE = timedelta(minutes=1)


def fault(kind: str, ago: timedelta, fresh: bool = True, machine_key: str | None = "a-g1"):
    return ObservedFault(at=NOW - ago, kind=kind, fresh=fresh, machine_key=machine_key)


def history(*faults: ObservedFault, **fields) -> RouteHistory:
    return RouteHistory(**{"route_id": "a", "machine_key": "a-g1", "faults": faults, **fields})


def decide(*faults: ObservedFault, **fields):
    return decide_remediation(history(*faults, **fields), POLICY, NOW).remediation


def test_other_settings_are_written_again_and_never_lead_to_another_machine():
    differs = fault("host-settings-differ", 60 * MINUTE)
    many = tuple(NOW - ago * MINUTE for ago in (50, 40, 30, 20))
    assert decide(differs) is Remediation.REPAIR
    assert decide(differs, repairs=many) is Remediation.REPAIR
    assert decide(differs, repairs=(NOW - MINUTE,)) is Remediation.LEAVE_ALONE
    assert decide(differs, proven_at=NOW - MINUTE) is Remediation.LEAVE_ALONE
    # What is tried for them does not count as a repair of another fault.
    stale = fault("stale-process", 15 * MINUTE)
    assert decide(differs, stale, repairs=many) is Remediation.REPAIR
    assert decide(stale, repairs=(NOW - 14 * MINUTE, NOW - 12 * MINUTE)) is Remediation.REPLACE


UNREACHABLE = [fault("host-unreachable", ago * MINUTE) for ago in (20, 12, 4)]

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
    doubt=st.sampled_from([None, None, None, "its host is newer"]),
    absent=st.booleans(),
    replacement_requested_by=st.sampled_from([None, None, None, "ann"]),
    faulted=st.booleans(),
    quarantined=st.sampled_from([False, False, True]),
)


def test_a_route_without_faults_is_left_alone():
    assert decide() is Remediation.LEAVE_ALONE


def test_the_count_of_failed_connections_is_never_above_the_count_it_is_of():
    """More than enough have failed, but within too short a time."""
    quick = [fault("host-unreachable", timedelta(seconds=10 * ago)) for ago in range(10, 0, -1)]
    decision = decide_remediation(history(*quick), POLICY, NOW)
    assert decision.reason.startswith(
        "host-unreachable: 10 operations with fresh connections failed within 1 min 30 s; "
        "the machine is given up after 3 over 10 min"
    )
    [one] = [decide_remediation(history(quick[-1]), POLICY, NOW).reason]
    assert one.startswith("host-unreachable: 1 operation with a fresh connection failed; ")


def test_repeated_failures_of_fresh_connections_over_time_replace_the_machine():
    decision = decide_remediation(history(*UNREACHABLE), POLICY, NOW)
    assert decision.remediation is Remediation.REPLACE
    assert decision.unreachable
    assert "3 operations with fresh connections" in decision.reason


@pytest.mark.parametrize(
    "faults",
    [
        UNREACHABLE[:2],
        [fault("host-unreachable", ago * MINUTE) for ago in (6, 5, 4)],
        [*UNREACHABLE[:2], fault("host-unreachable", 4 * MINUTE, fresh=False)],
        [*UNREACHABLE[:2], fault("host-unreachable", 4 * MINUTE, machine_key="a-g0")],
        [UNREACHABLE[0], fault("disk-full", 15 * MINUTE), *UNREACHABLE[1:]],
    ],
    ids=[
        "too few",
        "too close",
        "a reused connection",
        "another machine",
        "an operation reached it",
    ],
)
def test_weaker_evidence_only_leads_to_verification(faults):
    assert decide(*faults) in {Remediation.VERIFY, Remediation.LEAVE_ALONE}


def test_verification_waits_for_a_pause_after_the_last_fault():
    assert decide(fault("host-unreachable", MINUTE)) is Remediation.LEAVE_ALONE
    assert decide(fault("host-unreachable", 3 * MINUTE)) is Remediation.VERIFY


def test_a_machine_is_replaced_after_failed_repairs():
    first, second, third = (fault("stale-process", ago * MINUTE) for ago in (60, 40, 20))
    assert decide(first) is Remediation.REPAIR
    one = NOW - 50 * MINUTE
    assert decide(first, second, repairs=[one]) is Remediation.REPAIR
    two = NOW - 30 * MINUTE
    assert decide(first, second, third, repairs=[one, two]) is Remediation.REPLACE
    repaired = history(first, second, third, repairs=[one, two], proven_at=NOW - 10 * MINUTE)
    assert decide_remediation(repaired, POLICY, NOW).remediation is Remediation.LEAVE_ALONE


def test_no_second_repair_starts_soon_after_the_first():
    assert decide(fault("stale-process", HOUR), repairs=[NOW - MINUTE]) is Remediation.LEAVE_ALONE


def test_a_route_that_was_replaced_too_often_is_quarantined():
    replaced = [NOW - hours * HOUR for hours in (20, 10, 5)]
    assert decide(*UNREACHABLE, replacements=replaced) is Remediation.QUARANTINE
    assert decide(*UNREACHABLE, replacements=replaced[1:]) is Remediation.REPLACE
    longer_ago = [NOW - hours * HOUR for hours in (24, 10, 5)]
    assert decide(*UNREACHABLE, replacements=longer_ago) is Remediation.REPLACE


def test_a_machine_that_its_provider_has_reported_gone_for_a_while_is_replaced():
    assert decide(gone_since=NOW - 4 * MINUTE, absent=True) is Remediation.LEAVE_ALONE
    assert decide(gone_since=NOW - 5 * MINUTE, absent=True) is Remediation.REPLACE
    # Listings alone are no evidence: the machine was found, or not searched yet.
    assert decide(gone_since=NOW - HOUR) is Remediation.LEAVE_ALONE
    proven = {"gone_since": NOW - HOUR, "proven_at": NOW - MINUTE, "absent": True}
    assert decide(**proven) is Remediation.LEAVE_ALONE


def test_a_persons_request_replaces_even_a_quarantined_route():
    assert decide(replacement_requested_by="ann", quarantined=True) is Remediation.REPLACE


def test_a_host_key_mismatch_is_never_repaired_or_replaced():
    assert decide(fault("host-key-mismatch", HOUR), *UNREACHABLE) is Remediation.LEAVE_ALONE


def test_a_faulted_route_without_recent_faults_is_verified():
    assert decide(fault("disk-full", 30 * HOUR), faulted=True) is Remediation.VERIFY


def test_a_fault_outside_of_the_host_is_verified_only_if_the_route_is_faulted():
    busy = fault("route-busy", HOUR)
    assert decide(busy, faulted=True) is Remediation.VERIFY
    assert decide(busy) is Remediation.LEAVE_ALONE


def test_a_gone_machine_is_unreachable_until_it_is_proven():
    proven = route("a").model_copy(update={"proven_at": NOW - HOUR})
    for gone_since, reached in ((NOW - MINUTE, False), (NOW - 2 * HOUR, True)):
        last = observation_of(proven, history(gone_since=gone_since))
        assert last is not None
        assert last.reached is reached


def test_a_route_without_a_machine_gets_one_if_its_last_machine_was_to_blame():
    lost = fault("first-boot-failed", HOUR, machine_key="a-g0")
    assert decide(lost, machine_key=None) is Remediation.REPLACE
    refused = fault("provider-refused", HOUR, machine_key=None)
    assert decide(refused, machine_key=None) is Remediation.LEAVE_ALONE


@given(histories)
def test_repair_and_replace_need_a_fault_with_that_remedy(case):
    decision = decide_remediation(case, POLICY, NOW)
    if (
        decision.remediation in {Remediation.REPAIR, Remediation.REPLACE}
        and case.replacement_requested_by is None
    ):
        assert not case.quarantined
        assert case.doubt is None
        gone = (
            case.absent and case.gone_since is not None and NOW - case.gone_since >= POLICY.gone_for
        )
        counted = [
            each for each in case.faults if case.proven_at is None or each.at > case.proven_at
        ]
        remedies = {RULES[each.kind].remedy for each in counted if each.kind in RULES}
        assert gone or remedies & {Remedy.REPAIR, Remedy.REPLACE}


@given(histories)
def test_a_machine_is_replaced_only_on_enough_evidence(case):
    decision = decide_remediation(case, POLICY, NOW)
    if (
        decision.remediation is not Remediation.REPLACE
        or case.replacement_requested_by
        or case.machine_key is None
    ):
        return
    here = [each for each in case.faults if each.machine_key in (None, case.machine_key)]
    times = [each.at for each in here if each.fresh and means_unreachable(each.kind)]
    over_time = (
        len(times) >= POLICY.unreachable_observations
        and max(times) - min(times) >= POLICY.unreachable_for
    )
    gone = case.absent and case.gone_since is not None and NOW - case.gone_since >= POLICY.gone_for
    assert gone or over_time or len(case.repairs) >= POLICY.repairs


@given(histories)
def test_after_the_limit_of_replacements_only_a_person_can_request_another(case):
    recent = [at for at in case.replacements if NOW - at < POLICY.window]
    decision = decide_remediation(case, POLICY, NOW)
    if decision.remediation is Remediation.REPLACE and case.replacement_requested_by is None:
        assert len(recent) < POLICY.replacements
    if decision.remediation is Remediation.QUARANTINE:
        assert case.quarantined or len(recent) >= POLICY.replacements


@given(histories, st.randoms())
def test_the_decision_does_not_depend_on_the_order_of_the_history(case, random):
    again = case.model_copy(
        update={
            "faults": tuple(shuffled(case.faults, random)),
            "repairs": tuple(reversed(case.repairs)),
        }
    )
    assert decide_remediation(again, POLICY, NOW) == decide_remediation(case, POLICY, NOW)


@given(histories)
def test_every_decision_has_a_reason(case):
    decision = decide_remediation(case, POLICY, NOW)
    assert decision.route_id == "a"
    assert decision.reason


def test_the_last_observation_is_the_last_proof_or_fault_of_the_host():
    proven = route("a").model_copy(update={"proven_at": NOW - HOUR})

    def reached(*faults):
        last = observation_of(proven, history(*faults))
        return last is not None and last.reached

    assert reached()
    assert not reached(*UNREACHABLE)
    assert reached(*UNREACHABLE, fault("disk-full", MINUTE))
    assert not reached(*UNREACHABLE, fault("repository-unavailable", MINUTE))
    assert observation_of(route("a", architecture=None), history()) is None


def test_a_silent_machine_is_verified_and_only_its_faults_replace_it():
    silent = {"silent_since": NOW - 3 * MINUTE, "proven_at": NOW - HOUR}
    decided = decide_remediation(history(**silent), POLICY, NOW)
    assert (decided.remediation, decided.unreachable) == (Remediation.VERIFY, True)
    assert "silent since" in decided.reason
    # However long it lasts.
    for_days = {"silent_since": NOW - 90 * HOUR, "proven_at": NOW - 100 * HOUR}
    assert decide(**for_days) is Remediation.VERIFY
    # Once a login has failed, the usual counting has begun.
    found = fault("host-unreachable", MINUTE)
    assert decide(found, faulted=True, **silent) is Remediation.LEAVE_ALONE
    failed = [fault("host-unreachable", ago * MINUTE) for ago in (20, 12, 2)]
    earlier = {"silent_since": NOW - 21 * MINUTE, "proven_at": NOW - HOUR}
    assert decide(*failed, faulted=True, **earlier) is Remediation.REPLACE


@pytest.mark.parametrize("kind", ["unit-failed", "package-damaged", "repository-unreachable"])
def test_a_faulted_route_whose_machine_falls_silent_is_verified_first(kind):
    assert kind in RULES
    before = fault(kind, HOUR)
    assert decide(before, faulted=True, silent_since=NOW - MINUTE) is Remediation.VERIFY


def test_silence_before_a_proof_is_over():
    proven = {"silent_since": NOW - 3 * MINUTE, "proven_at": NOW - 2 * MINUTE}
    assert decide(**proven) is Remediation.LEAVE_ALONE


def test_a_machine_that_answers_again_is_verified_before_it_is_replaced():
    assert decide(*UNREACHABLE, faulted=True) is Remediation.REPLACE
    answers = {"answers_since": NOW - MINUTE}
    assert decide(*UNREACHABLE, faulted=True, **answers) is Remediation.VERIFY
    # A login that failed since then counts more than the answer.
    failed = fault("login-refused", timedelta(seconds=30))
    assert decide(*UNREACHABLE, failed, faulted=True, **answers) is Remediation.REPLACE


def test_no_silence_verifies_a_machine_whose_identity_a_person_has_to_check():
    found = fault("host-key-mismatch", HOUR)
    silent = {"silent_since": NOW - MINUTE}
    assert decide(found, faulted=True, **silent) is Remediation.LEAVE_ALONE


def test_the_breaker_counts_silence_and_no_answer():
    proven = NOW - HOUR
    serving = route("a").model_copy(update={"proven_at": proven})
    silent = observation_of(serving, history(proven_at=proven, silent_since=NOW - MINUTE))
    assert silent is not None
    assert (silent.observed_at, silent.reached) == (NOW - MINUTE, False)
    answers = observation_of(serving, history(proven_at=proven, answers_since=NOW - MINUTE))
    assert answers is not None
    assert (answers.observed_at, answers.reached) == (proven, True)
    refused = history(fault("login-refused", 5 * MINUTE), answers_since=NOW - MINUTE)
    still = observation_of(route("a"), refused)
    assert still is not None
    assert not still.reached
