"""Token buckets, and what a provider asks to wait for."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from relight.providers.rate import (
    MAX_RETRY_AFTER,
    MAX_WAIT,
    Call,
    Rate,
    RateLimits,
    TooFastError,
    retry_after,
)

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


class Time:
    """A clock that goes on by what is slept."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr(asyncio, "sleep", time.sleep)
    return time


async def test_calls_are_made_at_once_up_to_the_burst_and_then_at_the_rate(time: Time):
    limits = RateLimits({Call.CREATE: Rate(20, timedelta(seconds=15))}, time)
    begun = []
    for _ in range(30):
        await limits.take(Call.CREATE)
        begun.append(time.seconds - 100)
    assert begun[:20] == [0.0] * 20
    assert begun[20:] == pytest.approx([0.75 * number for number in range(1, 11)])


async def test_another_kind_of_call_does_not_wait(time: Time):
    limits = RateLimits({Call.CREATE: Rate(1, timedelta(seconds=15))}, time)
    await limits.take(Call.CREATE)
    for _ in range(100):
        await limits.take(Call.READ)
    assert time.seconds == 100


async def test_a_caller_that_would_wait_for_long_is_told_and_takes_nothing(time: Time):
    limits = RateLimits({Call.CREATE: Rate(1, timedelta(seconds=15))}, time)
    limits.pause(Call.CREATE, timedelta(minutes=2))
    for _ in range(3):
        with pytest.raises(TooFastError) as refused:
            await limits.take(Call.CREATE)
        assert refused.value.retry_after == timedelta(minutes=2)
    time.seconds += 120
    await limits.take(Call.CREATE)
    assert time.seconds == 220


async def test_a_shorter_pause_does_not_end_a_longer_one(time: Time):
    limits = RateLimits(clock=time)
    limits.pause(Call.READ, MAX_WAIT)
    limits.pause(Call.READ, timedelta(seconds=1))
    await limits.take(Call.READ)
    assert time.seconds == 100 + MAX_WAIT.total_seconds()


async def test_callers_at_once_share_the_limit():
    limits = RateLimits({Call.READ: Rate(2, timedelta(milliseconds=40))})
    began = asyncio.get_running_loop().time()
    await asyncio.gather(*(limits.take(Call.READ) for _ in range(6)))
    assert asyncio.get_running_loop().time() - began >= 0.079


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7", timedelta(seconds=7)),
        (" 0 ", timedelta(0)),
        ("999999999", MAX_RETRY_AFTER),
        ("9" * 5000, MAX_RETRY_AFTER),
        ("Mon, 30 Nov 2026 12:00:30 GMT", timedelta(seconds=30)),
        ("Mon, 30 Nov 2026 11:00:00 GMT", timedelta(0)),
        ("Mon, 30 Nov 2099 11:00:00 GMT", MAX_RETRY_AFTER),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("¹", None),
    ],
)
def test_retry_after_is_read_in_both_forms_and_bounded(text: str, expected: timedelta | None):
    assert retry_after({"retry-AFTER": text}, NOW) == expected


def test_an_answer_without_it_says_nothing():
    assert retry_after({"Content-Type": "text/html"}, NOW) is None
