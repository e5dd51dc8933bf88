"""A health probe that is a program of the operator's own. Raises `ProbeFailedError`."""

import shlex
from dataclasses import dataclass
from datetime import timedelta

from remote.destination import Destination
from remote.errors import NobodyListensError, ProbeFailedError, ProbeNotRunnableError
from remote.program import NOT_YET, run_program


@dataclass(frozen=True)
class CommandProbe:
    """A daemon is healthy of which a program on this computer says so, by exit code 0.

    By exit code 75 it says that nobody listens yet, and that it may be asked again.

    Attributes:
        argv: the program and its arguments; no shell reads them.
        timeout: how long it may take; then it is killed, with all that it started.
    """

    argv: tuple[str, ...]
    timeout: timedelta

    async def __call__(self, destination: Destination) -> str:
        """Run the program."""
        told = {
            "RELIGHT_PROBE_ADDRESS": destination.address,
            "RELIGHT_PROBE_MACHINE": destination.machine_key,
        }
        try:
            ended = await run_program(self.argv, told, self.timeout)
        except OSError as error:
            raise ProbeNotRunnableError(
                f"it cannot be run: {error.strerror or error}",
                destination=destination,
                attempted=shlex.join(self.argv),
                argv=self.argv,
            ) from error
        if ended.code != 0:
            kind = NobodyListensError if ended.code == NOT_YET else ProbeFailedError
            raise kind(
                ended.text,
                destination=destination,
                attempted=shlex.join(self.argv),
                argv=self.argv,
                exit_code=ended.code,
            )
        return f"{shlex.join(self.argv)}: exit code 0"
