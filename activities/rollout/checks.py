"""Gate checks: what the operator configured to run after each wave. One kind is a command."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from activities import policies
from relight.domain.error_words import error_words
from relight.domain.fault.error import DomainError
from relight.domain.names import CheckName, package_tag, revision_of
from relight.domain.rollout.gate import CheckGateInput, GateChecked
from relight.engine.step import step
from relight.hosts.local_program import RETRY_EXIT_CODE, run_program


class CheckUnansweredError(DomainError):
    """A check gave no answer. This says nothing about the release; the check may be retried."""

    kind = "check-unanswered"


class CheckNotYetError(DomainError):
    """It is too early for a check to answer; it may be retried."""

    kind = "check-not-yet"


class GateCheck(Protocol):
    """Decides whether a rollout may continue."""

    async def __call__(self, input: CheckGateInput) -> GateChecked:
        """Run the check.

        Raises:
            CheckUnansweredError: the check gave no answer.
            CheckNotYetError: it is too early for an answer.
        """


class GateCheckActivities:
    """Runs the checks that are configured in the settings. They change nothing."""

    def __init__(self, checks: Mapping[CheckName, GateCheck]) -> None:
        self._checks = checks

    @step(policies.GATE_CHECK, lambda i: f"{i.name} after wave {i.wave}")
    async def check_gate(self, input: CheckGateInput) -> GateChecked:
        """Run a check. A cancellation stops its program."""
        check = self._checks.get(input.name)
        if check is None:
            # The preflight found it: this worker has other settings, or they have changed.
            raise CheckUnansweredError(f"this worker's RELIGHT_GATE_CHECKS has no {input.name}")
        return await check(input)


@dataclass(frozen=True)
class CommandCheck:
    """Runs a program on the worker's host. The check passes if the exit code is 0.

    Exit code 75 means "too early", and the check is retried. Any other exit code, or a timeout,
    does not pass.

    Attributes:
        argv: the program and its arguments, run without a shell.
        timeout: its time limit; then it is killed, with all the processes that it started.
    """

    argv: tuple[str, ...]
    timeout: timedelta

    async def __call__(self, input: CheckGateInput) -> GateChecked:
        """Run the program."""
        variables = {
            "RELIGHT_ROLLOUT_TAG": package_tag(input.release_tag),
            "RELIGHT_ROLLOUT_CONFIGURATION": revision_of(input.release_tag) or "",
            "RELIGHT_ROLLOUT_SCOPE": input.scope,
            "RELIGHT_ROLLOUT_WAVE": str(input.wave),
        }
        try:
            ended = await run_program(self.argv, variables, self.timeout)
        except OSError as error:
            raise CheckUnansweredError(
                f"check {input.name}: {self.argv[0]} cannot be run: {error_words(error)}"
            ) from error
        if ended.exit_code == RETRY_EXIT_CODE:
            raise CheckNotYetError(f"check {input.name}: {ended.text}")
        return GateChecked(name=input.name, passed=ended.exit_code == 0, detail=ended.text)
