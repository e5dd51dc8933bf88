"""A gate's check that is a program of the operator's own."""

from dataclasses import dataclass
from datetime import timedelta

from activities.gate_checks import CheckNotYetError, CheckUnansweredError
from messages.gate import CheckGateInput, GateChecked
from remote.program import NOT_YET, run_program


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
