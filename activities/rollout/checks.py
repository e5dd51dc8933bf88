"""What the operator wants asked after each wave of a rollout, besides the routes themselves."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from temporalio import activity

from activities import policies
from relight.domain.fault.error import DomainError
from relight.domain.names import CheckName
from relight.domain.rollout.gate import CheckGateInput, GateChecked
from relight.engine.step import step
from relight.hosts.local_program import NOT_YET, run_program

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

    @step(policies.CHECK, lambda i: f"{i.name}, after wave {i.wave}")
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


@dataclass(frozen=True)
class CommandCheck:
    """Passes where a program that runs beside the worker says so, by exit code 0.

    Exit code 75 asks to be asked again. Anything else does not pass, nor does one that hangs.

    Attributes:
        argv: the program and its arguments; no shell reads them.
        timeout: how long it may take; then it is killed, with all that it started.
    """

    argv: tuple[str, ...]
    timeout: timedelta

    async def __call__(self, asked: CheckGateInput) -> GateChecked:
        """Run the program."""
        told = {
            "RELIGHT_ROLLOUT_TAG": asked.release_tag,
            "RELIGHT_ROLLOUT_SCOPE": asked.scope,
            "RELIGHT_ROLLOUT_WAVE": str(asked.wave),
        }
        try:
            ended = await run_program(self.argv, told, self.timeout)
        except OSError as error:
            raise CheckUnansweredError(
                f"check {asked.name}: {self.argv[0]} cannot be run: {error.strerror or error}"
            ) from error
        if ended.code == NOT_YET:
            raise CheckNotYetError(f"check {asked.name}: {ended.text}")
        return GateChecked(name=asked.name, passed=ended.code == 0, seen=ended.text)


# MERGEDOC """A gate's check that is a program of the operator's own."""
