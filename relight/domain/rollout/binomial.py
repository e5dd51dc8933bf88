"""What a number of failures among independent trials says about the failure rate, exactly.

The bounds are one-sided Clopper-Pearson bounds: each is the rate at which what was seen, or more
extreme, has just the probability 1 - confidence. Rates and confidences are shares of 1.
"""

import math
from collections.abc import Callable

_HALVINGS = 60
"""After as many halvings of 0 to 1 the two ends are neighbours among floating-point numbers."""


def at_most(failures: int, trials: int, rate: float) -> float:
    """Return the probability of no more than `failures` in `trials` that fail at `rate`."""
    if failures < 0:
        return 0.0
    if failures >= trials or rate <= 0:
        return 1.0
    if rate >= 1:
        return 0.0
    if failures > trials * rate:
        return 1 - _tail(trials - failures - 1, trials, 1 - rate)
    return _tail(failures, trials, rate)


def at_least(failures: int, trials: int, rate: float) -> float:
    """Return the probability of no fewer than `failures` in `trials` that fail at `rate`."""
    # Seen from the other side, no more than the rest succeed: no small number is lost in 1 - x.
    return at_most(trials - failures, trials, 1 - rate)


def upper_bound(failures: int, trials: int, confidence: float) -> float:
    """Return the rate that the failure rate is below, at the confidence; 1 where none is known."""
    if failures >= trials:
        return 1.0
    return _bisect(lambda rate: at_most(failures, trials, rate) > 1 - confidence)


def lower_bound(failures: int, trials: int, confidence: float) -> float:
    """Return the rate that the failure rate is above, at the confidence; 0 where none is known."""
    if failures <= 0:
        return 0.0
    return _bisect(lambda rate: at_least(failures, trials, rate) <= 1 - confidence)


def trials_needed(failures: int, confidence: float, tolerated: float) -> int:
    """Return in how many trials, at the least, so many failures prove a rate below `tolerated`.

    Raises:
        ValueError: `tolerated` or `confidence` is no share between 0 and 1: no number would do.
    """
    if not 0 < tolerated < 1 or not 0 < confidence < 1:
        msg = f"no number of trials proves a rate below {tolerated} at confidence {confidence}"
        raise ValueError(msg)
    too_few, enough = failures, failures + 1
    while at_most(failures, enough, tolerated) > 1 - confidence:
        too_few, enough = enough, 2 * enough
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        if at_most(failures, middle, tolerated) > 1 - confidence:
            too_few = middle
        else:
            enough = middle
    return enough


def _tail(failures: int, trials: int, rate: float) -> float:
    """Return the probability of no more than `failures`, where these are no more than the mean.

    From there on down each term is smaller than the one before: it ends when they no longer count.
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
    """Return the rate up to which `is_below` holds."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if is_below(middle):
            low = middle
        else:
            high = middle
    return (low + high) / 2
