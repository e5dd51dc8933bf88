"""The command line as people and programs use it: a process, its exit code, its two outputs."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.terminal import on_terminal

WHOLE_FLEET_AT_ONCE = {
    f"RELIGHT_RECONCILE__STRATEGY__DISRUPTION_BUDGET__{group}": "100%"
    for group in ("PROVIDER", "REGION", "TRACK")
}
"""The settings of a fleet so small that the default budget would change its routes one by one."""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its answer; whatever else stands on standard output is an error."""
        return json.loads(self.out)

    @property
    def json_lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def notes(self) -> list[str]:
        """The lines on standard error after the first, in which a change names its context."""
        first, *rest = self.err.splitlines()
        assert first.startswith("context "), self.err
        return rest

    @property
    def said(self) -> str:
        """What it complained of, without the places at which it was broken into lines."""
        assert "Traceback" not in self.err, self.err
        return " ".join(self.err.replace("│", " ").split())


@dataclass(frozen=True)
class CommandLine:
    """`relight` on a home folder, and with nothing of this process's own configuration."""

    home: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def where(self, **variables: str) -> "CommandLine":
        """Return the command line with further variables set."""
        return CommandLine(self.home, {**self.environment, **variables})

    async def __call__(self, *words: str) -> Ended:
        async with self.running(*words) as process:
            out, err = await process.communicate()
        assert process.returncode is not None
        return Ended(process.returncode, out.decode(), err.decode())

    async def on_terminal(self, terminal: int, *words: str) -> int:
        """Run a command whose outputs are a terminal, and return its exit code."""
        async with self.running(*words, output=terminal) as process:
            return await process.wait()

    async def typing(self, *words: str, after: str = "", keys: str = "", again: str = "") -> Ended:
        """Run a command on a terminal, and type keys once it shows a text, and again later.

        All that the terminal shows is returned as the standard output.
        """
        argv = (sys.executable, "-m", "starter.cli", *words)
        code, shown = await on_terminal(argv, self._variables, after=after, keys=keys, again=again)
        return Ended(code, shown, "")

    @property
    def _variables(self) -> dict[str, str]:
        """All variables of a process."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("RELIGHT_", "TEMPORAL_"))
        }
        return {**inherited, "RELIGHT_HOME": str(self.home), **self.environment}

    @asynccontextmanager
    async def running(
        self, *words: str, output: int = asyncio.subprocess.PIPE
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """Start a command, and see to it that it is gone afterwards."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "starter.cli",
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=self._variables,
            preexec_fn=_take_interrupts,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()


async def typed_in(folder: Path, *words: str, **variables: str) -> Ended:
    """Type a command in a folder, without any setting but these.

    The person's contexts are in the folder `config` beside it.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "starter.cli", *words),
        cwd=folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**bare_environment(folder), **variables},
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


def bare_environment(folder: Path) -> dict[str, str]:
    """Return the variables of a person in a folder who has set nothing of Relight."""
    settings = ("RELIGHT_", "TEMPORAL_", "SUDO_")
    inherited = {name: os.environ[name] for name in os.environ if not name.startswith(settings)}
    config = str(folder.parent / "config")
    return {**inherited, "PYTHONPATH": str(Path.cwd()), "XDG_CONFIG_HOME": config}


def _take_interrupts() -> None:
    """Let SIGINT end the command: a shell that runs the tests in the background ignores it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
