"""Exact binomial statistics: what failures among independent trials say about the failure rate.

The bounds are one-sided Clopper-Pearson bounds: the rate at which the observed result, or a more
extreme one, has the probability 1 - confidence. Rates and confidences are between 0 and 1.
"""

import math
from collections.abc import Callable

_HALVINGS = 60
"""Bisection steps of the interval 0 to 1 until its ends are adjacent floating-point numbers."""


def probability_at_most(failures: int, trials: int, rate: float) -> float:
    """Return the probability of at most `failures` in `trials` at a failure rate."""
    if failures < 0:
        return 0.0
    if failures >= trials or rate <= 0:
        return 1.0
    if rate >= 1:
        return 0.0
    if failures > trials * rate:
        return 1 - _tail(trials - failures - 1, trials, 1 - rate)
    return _tail(failures, trials, rate)


def probability_at_least(failures: int, trials: int, rate: float) -> float:
    """Return the probability of at least `failures` in `trials` at a failure rate."""
    # Computed as the probability of at most the remaining successes: 1 - x would lose precision.
    return probability_at_most(trials - failures, trials, 1 - rate)


def upper_bound(failures: int, trials: int, confidence: float) -> float:
    """Return the upper bound of the failure rate at the confidence; 1 without a success."""
    if failures >= trials:
        return 1.0
    return _bisect(lambda rate: probability_at_most(failures, trials, rate) > 1 - confidence)


def lower_bound(failures: int, trials: int, confidence: float) -> float:
    """Return the lower bound of the failure rate at the confidence; 0 without a failure."""
    if failures <= 0:
        return 0.0
    return _bisect(lambda rate: probability_at_least(failures, trials, rate) <= 1 - confidence)


def trials_needed(failures: int, confidence: float, tolerated: float) -> int:
    """Return the smallest number of trials in which `failures` prove a rate below `tolerated`.

    Raises:
        ValueError: `tolerated` or `confidence` is not between 0 and 1: no number is enough.
    """
    if not 0 < tolerated < 1 or not 0 < confidence < 1:
        msg = f"no number of trials proves a rate below {tolerated} at confidence {confidence}"
        raise ValueError(msg)
    too_few, enough = failures, failures + 1
    while probability_at_most(failures, enough, tolerated) > 1 - confidence:
        too_few, enough = enough, 2 * enough
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        if probability_at_most(failures, middle, tolerated) > 1 - confidence:
            too_few = middle
        else:
            enough = middle
    return enough


def _tail(failures: int, trials: int, rate: float) -> float:
    """Return the probability of at most `failures`, which must not exceed the mean.

    The terms decrease from there; the sum ends when they no longer change it.
    """
    term, total = _exactly(failures, trials, rate), 0.0
    for k in range(failures, -1, -1):
        if total + term == total:
            break
        total += term
        term *= k * (1 - rate) / ((trials - k + 1) * rate)
    return total


def _exactly(failures: int, trials: int, rate: float) -> float:
    return math.exp(
        math.lgamma(trials + 1)
        - math.lgamma(failures + 1)
        - math.lgamma(trials - failures + 1)
        + failures * math.log(rate)
        + (trials - failures) * math.log1p(-rate)
    )


def _bisect(is_below: Callable[[float], bool]) -> float:
    """Return the rate up to which `is_below` is true."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if is_below(middle):
            low = middle
        else:
            high = middle
    return (low + high) / 2
