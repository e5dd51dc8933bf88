"""What the operator wants asked after each wave of a rollout, besides the routes themselves."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Protocol

from temporalio import activity

from messages.errors import DomainError
from messages.gate import CheckGateInput, GateChecked
from messages.names import CheckName

BEAT = timedelta(seconds=5)
"""How often a check that takes its time is said to be under way."""


class CheckUnansweredError(DomainError):
    """A check gives no answer, which says nothing about the release: it may be asked again."""

    kind = "check-unanswered"


class CheckNotYetError(DomainError):
    """It is too early for a check to answer: it may be asked again."""

    kind = "check-not-yet"


class GateCheck(Protocol):
    """Says whether a rollout may go on."""

    async def __call__(self, asked: CheckGateInput) -> GateChecked:
        """Answer.

        Raises:
            CheckUnansweredError: it cannot.
            CheckNotYetError: it cannot yet.
        """


class GateCheckActivities:
    """Asks the checks that the settings name, and changes nothing."""

    def __init__(self, checks: Mapping[CheckName, GateCheck]) -> None:
        self._checks = checks

    @activity.defn
    async def check_gate(self, input: CheckGateInput) -> GateChecked:
        """Ask a check; what it runs ends with a cancel."""
        check = self._checks.get(input.name)
        if check is None:
            # A rollout's preflight saw it: this worker has other settings, or they were changed.
            raise CheckUnansweredError(f"this worker's RELIGHT_GATE_CHECKS has no {input.name}")
        async with beating():
            return await check(input)


@asynccontextmanager
async def beating() -> AsyncIterator[None]:
    """Say again and again that the activity is under way, until the block ends."""

    async def beat() -> None:
        while True:
            activity.heartbeat()
            await asyncio.sleep(BEAT.total_seconds())

    beats = asyncio.create_task(beat())
    try:
        yield
    finally:
        beats.cancel()
