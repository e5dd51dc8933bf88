"""How fast a provider's API may be called, and how long it asks to wait.

One `RateLimits` belongs to one account, and all its callers in this process share it. Creations are
limited over all workers as well (`RELIGHT_LIMITS__CREATIONS`).
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import NamedTuple

MAX_RETRY_AFTER = timedelta(minutes=15)
"""A longer wait is not believed: it would stop all calls of an account."""

MAX_WAIT = timedelta(seconds=20)
"""How long one call waits for its turn. It may hold one of the permits for creations, whose use
ends after a minute."""


class Call(StrEnum):
    """The kinds of call that providers limit apart from each other."""

    READ = "read"
    CREATE = "create"
    DESTROY = "destroy"


class Rate(NamedTuple):
    """At most `calls` within `per`."""

    calls: int
    per: timedelta


class TooFastError(Exception):
    """A call would have to wait for longer than `MAX_WAIT`.

    Attributes:
        retry_after: for how long.
    """

    def __init__(self, retry_after: timedelta) -> None:
        super().__init__(f"{retry_after.total_seconds():.0f} s")
        self.retry_after = retry_after


class RateLimits:
    """The limits of one account, by kind of call."""

    def __init__(
        self, rates: Mapping[Call, Rate] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Limit nothing yet.

        Args:
            rates: those that are known; a kind without one only waits where the provider says so.
            clock: seconds.
        """
        self._buckets = {call: _Bucket(rate, clock) for call, rate in (rates or {}).items()}
        self._paused_until: dict[Call, float] = {}
        self._clock = clock

    async def take(self, call: Call) -> None:
        """Wait until a call may be made.

        Raises:
            TooFastError: it would take too long; the call does not count.
        """
        pause = self._paused_until.get(call, 0.0) - self._clock()
        bucket = self._buckets.get(call)
        wait = max(pause, bucket.wait if bucket else 0.0, 0.0)
        if wait > MAX_WAIT.total_seconds():
            raise TooFastError(timedelta(seconds=wait))
        if bucket:
            bucket.take()
        if wait:
            await asyncio.sleep(wait)

    def pause(self, call: Call, span: timedelta) -> None:
        """Let no call of this kind begin before a time has passed."""
        until = self._clock() + span.total_seconds()
        self._paused_until[call] = max(until, self._paused_until.get(call, 0.0))


class _Bucket:
    """Calls that may be made at once refill evenly. Each caller takes its turn before it waits."""

    def __init__(self, rate: Rate, clock: Callable[[], float]) -> None:
        self._each = rate.per.total_seconds() / rate.calls
        self._burst = rate.per.total_seconds() - self._each
        self._clock = clock
        self._free_at = clock()

    @property
    def wait(self) -> float:
        return max(self._free_at - self._burst - self._clock(), 0.0)

    def take(self) -> None:
        self._free_at = max(self._free_at, self._clock()) + self._each


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> timedelta | None:
    """Return how long an answer asks to wait, in seconds or until a date; None if it does not say.

    At most `MAX_RETRY_AFTER`.

    Args:
        headers: of the answer, which are read whatever their case.
        now: the current time.
    """
    text = next((value for name, value in headers.items() if name.lower() == "retry-after"), "")
    text = text.strip()
    if text.isascii() and text.isdigit():
        # Longer numbers are no times, and `int` has a limit of digits.
        return min(timedelta(seconds=int(text[:9])), MAX_RETRY_AFTER)
    try:
        until = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return min(max(until - (now or datetime.now(UTC)), timedelta(0)), MAX_RETRY_AFTER)
