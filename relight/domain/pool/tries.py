"""Tries: how often a pool tries to make a machine ready at a release before a person is asked."""

from datetime import datetime, timedelta

from pydantic import AwareDatetime, Field

from relight.domain.base import Message
from relight.domain.duration import Duration
from relight.domain.fault.fault import Fault
from relight.domain.fault.rule import Remedy
from relight.domain.fault.table import RULES, locks_out
from relight.domain.names import ReleaseTag

NOT_COUNTED = frozenset({"cancelled", "terminated"})
"""Kinds of faults that a person has caused."""


class PoolPolicy(Message):
    """The limits of a pool: its size, and how it goes on after a failed try.

    Attributes:
        max_size: how many machines a region's pool may have. Each is paid for while it waits, and
            a mistyped size would be created before anybody looks.
        max_tries: after so many failed tries in a row a person is asked. A fault that only waiting
            cures is tried without end, ever less often.
        retry_after: the pause after the first failed try; each further one is twice as long.
        max_pause: the longest pause.
    """

    max_size: int = Field(default=50, ge=1)
    max_tries: int = Field(default=3, ge=1)
    retry_after: Duration = Field(default=timedelta(minutes=5), ge=timedelta(0))
    max_pause: Duration = Field(default=timedelta(hours=1), ge=timedelta(0))


class PoolTries(Message):
    """The failed tries of a region's pool since a machine became ready at the release.

    Attributes:
        release_tag: the release that was tried; None without a failed try.
        failed: how many in a row.
        last_at: when the last one failed.
        fault: why.
    """

    release_tag: ReleaseTag | None = None
    failed: int = Field(default=0, ge=0)
    last_at: AwareDatetime | None = None
    fault: Fault | None = None

    def of(self, release_tag: ReleaseTag | None) -> "PoolTries":
        """Return the tries of a release: none if another one was tried."""
        return self if release_tag == self.release_tag else PoolTries()


def counts_as_try(fault: Fault) -> bool:
    """Return whether a fault is a failed try: not if a person or our own key caused it."""
    return fault.kind not in NOT_COUNTED and not locks_out(fault.kind)


def is_stopped(tries: PoolTries, policy: PoolPolicy) -> bool:
    """Return whether a person has to decide. What only waiting cures is tried without end."""
    rule = RULES.get(tries.fault.kind) if tries.fault else None
    waits = rule is not None and rule.remedy is Remedy.WAIT
    return tries.failed >= policy.max_tries and not waits


def why_not_try(
    provider: str, region: str, tries: PoolTries, policy: PoolPolicy, now: datetime
) -> str | None:
    """Return why a pool does not try now, until when, and what makes it try; None if it does.

    Args:
        provider: of the pool.
        region: of the pool.
        tries: the failed tries of the release.
        policy: the limits.
        now: the current time, with its time zone.
    """
    if tries.last_at is None or tries.fault is None:
        return None
    command = f"`relight pool retry {provider} {region}`"
    count = "1 try" if tries.failed == 1 else f"{tries.failed} tries in a row"
    failed = f"{count} to make a machine ready at {tries.release_tag} failed ({tries.fault.kind})"
    if is_stopped(tries, policy):
        return f"it is stopped: {failed}; {command} makes it try again"
    doublings = min(tries.failed - 1, 20)  # Longer than any pause by then.
    next_at = tries.last_at + min(policy.retry_after * 2**doublings, policy.max_pause)
    if now < next_at:
        return f"{failed}; the next one is at {next_at:%H:%M} UTC, or after {command}"
    return None
