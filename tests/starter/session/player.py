"""Plays a kept session on a small installation, and returns it with what is shown now."""

import asyncio
import os
import pty
import shlex
import signal
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from tests.starter.installation import Installation
from tests.starter.session.transcript import Happens, Remark, Typed, read, without_what_differs
from tests.support.command_line import CommandLine, Ended

Happening = Callable[[Installation], None]


class Player:
    """Types the commands of a session.

    Attributes:
        variables: further settings of its commands.
        happenings: what may happen between two commands, by its words.
    """

    def __init__(
        self,
        installation: Installation,
        variables: Mapping[str, str],
        folder: Path,
        happenings: Mapping[str, Happening],
    ) -> None:
        self._installation = installation
        self._relight = installation.relight.where(**variables)
        self._folder = folder
        self._happenings = happenings
        self._seen = 0

    async def play(self, text: str) -> str:
        """Play a session from its text; return the text that it has now."""
        lines: list[str] = []
        for part in read(text):
            match part:
                case Remark(line):
                    lines.append(line)
                case Happens(what):
                    self._happenings[what](self._installation)
                    lines.append(f"! {what}")
                case Typed():
                    self._changes()
                    ended = await self._type(part)
                    await self._installation.harness.until_idle()
                    lines += [str(part), *self._shown(ended), self._end(ended)]
        return "\n".join(lines) + "\n"

    async def _type(self, typed: Typed) -> Ended:
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
                elsewhere = self._folder / "elsewhere"
                elsewhere.mkdir(exist_ok=True)
                return await CommandLine(elsewhere / ".relight")(*words)
            case "with":
                return await line.where(**dict([argument.split("=", 1)]))(*words)
            case "80 columns":
                return await _on_terminal(line.processes, *words)
            case "interrupted after":
                return await _interrupted(line.processes, argument, *words)
        raise AssertionError(f"unknown: {typed.how}")

    def _shown(self, ended: Ended) -> list[str]:
        folder = str(self._folder)
        out = without_what_differs(ended.out, folder).splitlines()
        err = without_what_differs(ended.err, folder).splitlines()
        return [*out, *(f"2> {line}".rstrip() for line in err)]

    def _end(self, ended: Ended) -> str:
        changes = self._changes()
        what = ", ".join(f"{count} x {kind}" for kind, count in sorted(changes.items()))
        return f"[exit {ended.code}; {what or 'nothing changed'}]"

    def _changes(self) -> Counter[str]:
        """Return how many events of each kind were written since the last call."""
        events = self._installation.harness.store.events.list()
        new = [each for each in events if each.event_id > self._seen]
        self._seen = max((each.event_id for each in events), default=0)
        return Counter(each.kind for each in new)


def _without_progress(ended: Ended) -> Ended:
    """Leave out what is told while an operation runs: its order and its parts differ."""
    lines = ended.err.splitlines()
    errors = [number for number, line in enumerate(lines) if line.startswith("error:")]
    return replace(ended, err="\n".join(lines[errors[0] :] if errors else []))


async def _on_terminal(line: CommandLine, *words: str) -> Ended:
    """Run a command on a terminal of 80 columns; all that it shows counts as standard output."""
    main, terminal = pty.openpty()
    try:
        os.set_blocking(main, False)
        shown = bytearray()
        done = asyncio.get_running_loop().create_future()

        def receive() -> None:
            try:
                shown.extend(os.read(main, 65536))
            except OSError:  # EIO: the other end is closed.
                if not done.done():
                    done.set_result(None)

        asyncio.get_running_loop().add_reader(main, receive)
        code = await line.where(COLUMNS="80", LINES="24", TERM="dumb").on_terminal(terminal, *words)
        os.close(terminal)
        terminal = -1
        await done
    finally:
        asyncio.get_running_loop().remove_reader(main)
        os.close(main)
        if terminal >= 0:
            os.close(terminal)
    return Ended(code, shown.decode().replace("\r\n", "\n"), "")


async def _interrupted(line: CommandLine, text: str, *words: str) -> Ended:
    """Type Ctrl-C once a command has shown a text on standard error."""
    async with line.running(*words) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        shown = b""
        while text.encode() not in shown:
            line_shown = await process.stderr.readline()
            assert line_shown, shown
            shown += line_shown
        process.send_signal(signal.SIGINT)
        rest, out, code = await asyncio.gather(
            process.stderr.read(), process.stdout.read(), process.wait()
        )
    return Ended(code, out.decode(), (shown + rest).decode())
