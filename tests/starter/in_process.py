"""The command line in the test's own process.

Tests of the process itself (its exit, signals, terminal, pipes) use `tests.support.command_line`
instead.
"""

import asyncio
from dataclasses import dataclass

from devkit.in_process import run_command
from tests.support.command_line import CommandLine, Ended


@dataclass(frozen=True)
class InProcess(CommandLine):
    """`relight` on a home folder, each command in a thread of this process.

    `running` and `on_terminal` still start real processes.
    """

    def where(self, **variables: str) -> "InProcess":
        """Return the command line with further variables set."""
        return InProcess(self.home, {**self.environment, **variables})

    @property
    def processes(self) -> CommandLine:
        """The same command line, with a new process for each command."""
        return CommandLine(self.home, self.environment)

    async def __call__(self, *words: str) -> Ended:
        # In a thread, because commands run their own event loop; it has a copy of this context.
        variables = {"RELIGHT_HOME": str(self.home), **self.environment}
        return Ended(*await asyncio.to_thread(run_command, words, variables))
