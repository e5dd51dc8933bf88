"""What so many routes prove, and what a person is told of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.domain.rollout.gate import Outcome, outcome, verdict

counts = st.integers(0, 120)
confidences = st.floats(0.5, 0.999)
tolerated = st.floats(0.01, 0.9)


SURE = "at 95 % confidence; 10 % are tolerated"


@pytest.mark.parametrize(
    ("successes", "failures", "told"),
    [
        (0, 0, f"0 of 0 failed: the failure rate is below 100 % {SURE}, for which 29 are needed"),
        (5, 0, f"0 of 5 failed: the failure rate is below 45 % {SURE}, for which 29 are needed"),
        # In two digits it would look like what is tolerated.
        (
            28,
            0,
            f"0 of 28 failed: the failure rate is below 10.15 % {SURE}, for which 29 are needed",
        ),
        (29, 0, f"0 of 29 failed: the failure rate is below 9.8 % {SURE}"),
        (5, 5, f"5 of 10 failed: the failure rate is above 22 % {SURE}"),
    ],
)
def test_it_says_what_it_knows(successes, failures, told):
    assert verdict(successes, failures, 0.95, 0.1).reason == told


def test_after_a_failure_it_says_what_is_needed_without_a_further_one():
    assert verdict(19, 1, 0.95, 0.1).reason.endswith("46 are needed without a further failure")


@pytest.mark.parametrize(
    ("successes", "failures", "found", "needed"),
    [
        (5, 0, Outcome.INCONCLUSIVE, 24),
        (28, 0, Outcome.INCONCLUSIVE, 1),
        (29, 0, Outcome.PASS, 0),
        (0, 1, Outcome.INCONCLUSIVE, 45),
        (0, 2, Outcome.FAIL, None),
    ],
)
def test_ten_percent_at_95_percent(successes, failures, found, needed):
    known = verdict(successes, failures, 0.95, 0.1)
    assert (known.outcome, known.needed) == (found, needed)


@given(counts, counts, confidences, tolerated)
def test_a_pass_and_a_fail_are_what_the_bounds_say(successes, failures, confidence, tolerated):
    known = verdict(successes, failures, confidence, tolerated)
    if known.outcome is Outcome.PASS:
        assert known.upper_bound <= tolerated + 1e-9
    elif known.outcome is Outcome.FAIL:
        assert known.lower_bound >= tolerated - 1e-9
    else:
        assert known.lower_bound - 1e-9 <= tolerated <= known.upper_bound + 1e-9


GOODNESS = [Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.PASS]


@given(counts, counts, confidences, tolerated)
def test_a_success_never_makes_it_worse_nor_a_failure_better(
    successes, failures, confidence, tolerated
):
    def rank(more_successes: int, more_failures: int) -> int:
        seen = (successes + more_successes, failures + more_failures)
        return GOODNESS.index(outcome(*seen, confidence, tolerated))

    assert rank(0, 1) <= rank(0, 0) <= rank(1, 0)


@given(counts, counts, confidences, tolerated, st.floats(0.0, 0.09))
def test_who_tolerates_more_is_told_no_worse(successes, failures, confidence, tolerated, more):
    strict = outcome(successes, failures, confidence, tolerated)
    lax = outcome(successes, failures, confidence, tolerated + more)
    assert GOODNESS.index(strict) <= GOODNESS.index(lax)


@given(counts, counts, confidences, tolerated)
def test_what_is_needed_makes_it_a_pass_and_one_less_does_not(
    successes, failures, confidence, tolerated
):
    needed = verdict(successes, failures, confidence, tolerated).needed
    if needed:
        assert outcome(successes + needed, failures, confidence, tolerated) is Outcome.PASS
        less = outcome(successes + needed - 1, failures, confidence, tolerated)
        assert less is Outcome.INCONCLUSIVE
