"""What the routes so far prove about a release, and at what confidence."""

from messages.gate import GateVerdict, Outcome
from planning.binomial import at_least, at_most, lower_bound, trials_needed, upper_bound


def outcome(
    successes: int, failures: int, confidence: float, tolerated_failure_rate: float
) -> Outcome:
    """Return what so many routes prove.

    A pass, where a release that fails just as often as is tolerated would show so few failures
    with no more than the probability 1 - confidence; a fail, where it would show so many.

    Args:
        successes: routes that were proven at the release.
        failures: routes that failed by a fault of their host or of the release.
        confidence: how sure the verdict has to be, 0.5 up to but not 1.
        tolerated_failure_rate: of a good release, 0 to 1, both excluded.
    """
    seen = successes + failures
    if at_most(failures, seen, tolerated_failure_rate) <= 1 - confidence:
        return Outcome.PASS
    if at_least(failures, seen, tolerated_failure_rate) <= 1 - confidence:
        return Outcome.FAIL
    return Outcome.INCONCLUSIVE


def verdict(
    successes: int, failures: int, confidence: float, tolerated_failure_rate: float
) -> GateVerdict:
    """Return what so many routes prove, and what is known of the failure rate.

    It takes what `outcome` takes.
    """
    seen = successes + failures
    found = outcome(successes, failures, confidence, tolerated_failure_rate)
    lower = lower_bound(failures, seen, confidence)
    upper = upper_bound(failures, seen, confidence)
    sure, tolerated = f"at {_percent(confidence)} confidence", _percent(tolerated_failure_rate)
    below, above = (_beside(bound, tolerated_failure_rate) for bound in (upper, lower))
    reason = f"{failures} of {seen} failed: the failure rate is "
    needed: int | None = None
    if found is Outcome.FAIL:
        reason += f"above {above} {sure}; {tolerated} are tolerated"
    elif found is Outcome.PASS:
        needed = 0
        reason += f"below {below} {sure}; {tolerated} are tolerated"
    else:
        enough = trials_needed(failures, confidence, tolerated_failure_rate)
        needed = enough - seen
        further = "" if failures == 0 else " without a further failure"
        reason += (
            f"below {below} {sure}; {tolerated} are tolerated, "
            f"for which {enough} are needed{further}"
        )
    return GateVerdict(
        outcome=found,
        successes=successes,
        failures=failures,
        lower_bound=lower,
        upper_bound=upper,
        needed=needed,
        reason=reason,
    )


def _percent(share: float) -> str:
    """Return a share of 1 that somebody stated, as they did: `10 %`, `99.9 %`."""
    return f"{100 * share:.4g} %"


def _beside(bound: float, tolerated: float) -> str:
    """Return a bound in two digits, or in as many as tell it from what is tolerated."""
    if bound >= 0.995:
        return _percent(bound)
    short = f"{100 * bound:.2g} %"
    return _percent(bound) if short == f"{100 * tolerated:.2g} %" else short
