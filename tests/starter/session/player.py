"""Plays a kept session on a small installation, and returns it with what is shown now."""

import asyncio
import shlex
import signal
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path

from relight.domain.event import Event
from tests.starter.installation import Installation
from tests.starter.session.transcript import Happens, Remark, Typed, read, without_what_differs
from tests.support.command_line import CommandLine, Ended
from tests.support.terminal import CTRL_C, CTRL_D

Still = Callable[[], Awaitable[None]]
"""Waits until nothing goes on by itself."""

Happening = Callable[[Installation], Still | None]
"""Changes an installation. It returns what comes before the next command is typed; None for the end
of all that runs."""


class Player(ABC):
    """Types the commands of a session.

    Attributes:
        folder: where they are typed; its name is not shown.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._seen = 0

    async def play(self, text: str) -> str:
        """Play a session from its text; return the text that it has now."""
        lines: list[str] = []
        for part in read(text):
            match part:
                case Remark(line):
                    lines.append(line)
                case Happens(what):
                    self.happens(what)
                    lines.append(f"! {what}")
                case Typed():
                    self._changes()
                    ended = await self.type_in(part)
                    await self.until_still()
                    lines += [str(part), *self._shown(ended), self._end(ended)]
        return "\n".join(lines) + "\n"

    @abstractmethod
    async def type_in(self, typed: Typed) -> Ended:
        """Type a command, and return how it ended."""

    @abstractmethod
    def happens(self, what: str) -> None:
        """Let happen what a line with `!` says."""

    @abstractmethod
    async def until_still(self) -> None:
        """Wait until nothing goes on by itself."""

    @abstractmethod
    def events(self) -> list[Event]:
        """Return the events that the store has."""

    def _shown(self, ended: Ended) -> list[str]:
        folder = str(self.folder)
        out = without_what_differs(ended.out, folder).splitlines()
        err = without_what_differs(ended.err, folder).splitlines()
        return [*out, *(f"2> {line}".rstrip() for line in err)]

    def _end(self, ended: Ended) -> str:
        changes = self._changes()
        what = ", ".join(f"{count} x {kind}" for kind, count in sorted(changes.items()))
        return f"[exit {ended.code}; {what or 'nothing changed'}]"

    def _changes(self) -> Counter[str]:
        """Return how many events of each kind were written since the last call."""
        events = self.events()
        new = [each for each in events if each.event_id > self._seen]
        self._seen = max((each.event_id for each in events), default=0)
        return Counter(each.kind for each in new)


class FleetPlayer(Player):
    """Types on an installation with simulated hosts."""

    def __init__(
        self,
        installation: Installation,
        variables: Mapping[str, str],
        folder: Path,
        happenings: Mapping[str, Happening],
    ) -> None:
        """Prepare a play.

        Args:
            installation: with a worker.
            variables: further settings of its commands.
            folder: of the store.
            happenings: what may happen between two commands, by its words.
        """
        super().__init__(folder)
        self._installation = installation
        self._relight = installation.relight.where(**variables)
        self._happenings = happenings
        self._still: Still = installation.harness.until_idle

    async def type_in(self, typed: Typed) -> Ended:
        command, *words = shlex.split(typed.words)
        assert command == "relight"
        line = self._relight
        how, _, argument = typed.how.partition(": ")
        match how:
            case "":
                return await line(*words)
            case "result only":
                return _without_progress(await line(*words))
            case "elsewhere":
                elsewhere = self.folder / "elsewhere"
                elsewhere.mkdir(exist_ok=True)
                return await CommandLine(elsewhere / ".relight")(*words)
            case "with":
                return await line.where(**dict([argument.split("=", 1)]))(*words)
            case "80 columns":
                return await _on_screen(line).typing(*words)
            case "interrupted after":
                return await _interrupted(line.processes, argument, *words)
            case "end only, interrupted after":
                ended = await _interrupted(line.processes, argument, *words)
                return replace(ended, err=ended.err.splitlines()[-1])
            case "Ctrl-C after" | "Ctrl-D after":
                keys = CTRL_C if how.startswith("Ctrl-C") else CTRL_D
                return await _on_screen(line).typing(*words, after=argument, keys=keys)
        raise AssertionError(f"unknown: {typed.how}")

    def happens(self, what: str) -> None:
        harness = self._installation.harness
        self._still = self._happenings[what](self._installation) or harness.until_idle

    async def until_still(self) -> None:
        await self._still()

    def events(self) -> list[Event]:
        return self._installation.harness.store.events.list()


def _on_screen(line: CommandLine) -> CommandLine:
    """Return the command line on a terminal of 80 columns that has no colours."""
    return line.where(COLUMNS="80", LINES="24", TERM="dumb")


def _without_progress(ended: Ended) -> Ended:
    """Leave out what is told while an operation runs: its order and its parts differ."""
    lines = ended.err.splitlines()
    errors = [number for number, line in enumerate(lines) if line.startswith("error:")]
    return replace(ended, err="\n".join(lines[errors[0] :] if errors else []))


async def _interrupted(line: CommandLine, text: str, *words: str) -> Ended:
    """Send SIGINT, as Ctrl-C does, once a command has shown a text."""
    async with line.running(*words) as process, asyncio.timeout(60):
        assert process.stdout is not None
        assert process.stderr is not None
        shown = asyncio.Event()
        out, err, _ = await asyncio.gather(
            _read(process.stdout, text, shown),
            _read(process.stderr, text, shown),
            _interrupt(process, shown),
        )
        code = await process.wait()
    return Ended(code, out, err)


async def _read(stream: asyncio.StreamReader, text: str, shown: asyncio.Event) -> str:
    """Read a stream to its end; set `shown` once it has a text."""
    read = b""
    while received := await stream.read(65536):
        read += received
        if text.encode() in read:
            shown.set()
    return read.decode()


async def _interrupt(process: asyncio.subprocess.Process, shown: asyncio.Event) -> None:
    await shown.wait()
    process.send_signal(signal.SIGINT)
