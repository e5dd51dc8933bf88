"""What a probe changes in the record of a machine."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.domain.liveness import (
    RENEW_AFTER,
    Liveness,
    MachineToProbe,
    ProbeResult,
    change_of,
    is_silent,
    silent_since,
)
from tests.domain.fleets import NOW

MINUTE = timedelta(minutes=1)
ANSWERED, SILENT, NOT_PROBED = ProbeResult.ANSWERED, ProbeResult.SILENT, ProbeResult.NOT_PROBED


def record(answers: bool, ago: timedelta, answered_ago: timedelta | None = None) -> Liveness:
    return Liveness(
        machine_key="a-g1",
        answers=answers,
        since=NOW - ago,
        answered_at=None if answered_ago is None else NOW - answered_ago,
    )


def machine(known: Liveness | None, proven_ago: timedelta | None = None) -> MachineToProbe:
    proven_at = None if proven_ago is None else NOW - proven_ago
    return MachineToProbe("a-g1", "192.0.2.7", "a", True, proven_at, known)


def test_the_first_answer_and_the_first_silence_are_recorded():
    assert change_of(machine(None), ANSWERED, NOW) == record(True, 0 * MINUTE, 0 * MINUTE)
    assert change_of(machine(None), SILENT, NOW) == record(False, 0 * MINUTE)


def test_a_machine_that_falls_silent_keeps_its_last_answer():
    change = change_of(machine(record(True, 9 * MINUTE, 2 * MINUTE)), SILENT, NOW)
    assert change == record(False, 0 * MINUTE, 2 * MINUTE)


def test_a_machine_that_answers_again_does_so_since_now():
    change = change_of(machine(record(False, 9 * MINUTE)), ANSWERED, NOW)
    assert change == record(True, 0 * MINUTE, 0 * MINUTE)


@pytest.mark.parametrize(
    ("known", "answer"),
    [
        (record(True, 99 * MINUTE, RENEW_AFTER - MINUTE), ANSWERED),
        (record(False, 99 * MINUTE), SILENT),
        (record(False, 99 * MINUTE), NOT_PROBED),
        (record(True, 99 * MINUTE, 99 * MINUTE), NOT_PROBED),
        (None, NOT_PROBED),
    ],
)
def test_what_has_not_changed_is_not_written(known, answer):
    assert change_of(machine(known), answer, NOW) is None


def test_an_old_answer_is_renewed_and_its_beginning_stays():
    change = change_of(machine(record(True, 99 * MINUTE, RENEW_AFTER)), ANSWERED, NOW)
    assert change == record(True, 99 * MINUTE, 0 * MINUTE)


def test_a_machine_that_was_proven_since_and_is_silent_again_is_silent_since_now():
    proven_since = machine(record(False, 9 * MINUTE), proven_ago=5 * MINUTE)
    assert silent_since(proven_since, NOW) is None
    assert change_of(proven_since, SILENT, NOW) == record(False, 0 * MINUTE)


def test_a_proof_from_the_future_does_not_end_silence():
    since = NOW - 9 * MINUTE
    assert not is_silent(since, NOW - 5 * MINUTE, NOW)
    assert is_silent(since, NOW + 5 * MINUTE, NOW)
    assert is_silent(since, NOW - 10 * MINUTE, NOW)
    assert is_silent(since, None, NOW)
    assert not is_silent(None, None, NOW)


@given(
    known=st.none()
    | st.builds(
        record,
        st.booleans(),
        st.integers(0, 200).map(lambda n: n * MINUTE),
        st.none() | st.integers(0, 200).map(lambda n: n * MINUTE),
    ),
    proven_ago=st.none() | st.integers(-50, 200).map(lambda n: n * MINUTE),
    answer=st.sampled_from([ANSWERED, SILENT]),
)
def test_after_a_probe_the_record_says_what_the_probe_said(known, proven_ago, answer):
    before = machine(known, proven_ago)
    after = change_of(before, answer, NOW) or known
    assert after is not None
    later = NOW + MINUTE
    proven_at = before.proven_at
    # A proof of this very moment is as new as the probe.
    if proven_at is None or not NOW <= proven_at <= later:
        silent = silent_since(before._replace(known=after), later) is not None
        assert silent is (answer is SILENT)
