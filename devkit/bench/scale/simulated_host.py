"""One simulated host: the answers of its host program and of its service.

Everything succeeds on it. A change takes wall time, but no CPU time.
"""

import asyncio
import contextlib
import itertools
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from activities.image.on_machine import NO_IMAGE_EXIT_CODE
from relight.hosts import host_program
from relight.hosts.shell import SUDO
from relight.images.provision import MARKER

PACKAGE, EXECUTABLE = "lantern-box", "/usr/bin/lantern-box"

_USAGE_ERROR = 64
_NOT_FOUND = 127
_BOOT_ID = "6c7b5e3a-0000-4000-8000-000000000000"


class CommandResult(NamedTuple):
    """The result of a command."""

    exit_code: int
    stdout: str = ""
    stderr: str = ""


@dataclass(frozen=True)
class _Change:
    """A transient unit. Times are seconds of the event loop's clock."""

    version: str
    started_at: float
    ends_at: float
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class SimulatedHost:
    """A host with the service at a version, which changes can replace."""

    def __init__(self, version: str, architecture: str, change_seconds: float) -> None:
        self._version = version
        self._architecture = architecture
        self._change_seconds = change_seconds
        self._changes: dict[str, _Change] = {}
        self._starts = itertools.count(1)
        self._invocation = f"{next(self._starts):032x}"

    @property
    def health(self) -> str:
        """The body of the service's answer to the health probe."""
        return f'{{"status":"ok","version":"{self._version}"}}'

    async def run(self, command: str) -> CommandResult:
        """Run a command line, as sshd does."""
        program = (*SUDO, str(host_program.PROGRAM))
        argv = tuple(shlex.split(command))
        if argv[0] == "/bin/sh" and argv[-1] == MARKER:
            return CommandResult(NO_IMAGE_EXIT_CODE)
        if argv[: len(program)] != program:
            return CommandResult(_NOT_FOUND, stderr=f"a simulated host cannot run: {command}\n")
        return await self._call(argv[len(program) :])

    async def _call(self, words: tuple[str, ...]) -> CommandResult:
        """Return the result of a call of the host program."""
        match words:
            case ["swap", unit, seconds, _, version, "upgrade" | "rollback", *_]:
                started = self._start(unit, version)
                return CommandResult(0, started + await self._observe(unit, seconds))
            case ["observe"]:
                return CommandResult(0, self._observation())
            case ["observe", unit, seconds]:
                return CommandResult(0, await self._observe(unit, seconds))
            case ["dry-run", version, "upgrade" | "rollback", *_]:
                return CommandResult(0, f"Inst {PACKAGE} [{self._version}] ({version})\n")
            case ["log", _]:
                return CommandResult(0, f"Setting up {PACKAGE} ({self._version}) ...\n")
            case ["forget" | "stop", unit]:
                self._changes.pop(unit, None)
                return CommandResult(0)
            case ["journal", _]:
                return CommandResult(0, f"{PACKAGE}: version {self._version} starts\n")
            case _:
                text = f"relight-host: unknown subcommand or arguments: {shlex.join(words)}\n"
                return CommandResult(_USAGE_ERROR, stderr=text)

    def _start(self, unit: str, version: str) -> str:
        if unit in self._changes:
            text = f"Failed to start transient service unit: Unit {unit} was already loaded."
            return _section("begin", 1, text)
        loop = asyncio.get_running_loop()
        now = loop.time()
        change = self._changes[unit] = _Change(version, now, now + self._change_seconds)
        # The change continues without a connection.
        loop.call_at(change.ends_at, self._end, change)
        return _section("begin", 0, "")

    def _end(self, change: _Change) -> None:
        if change.version != self._version:
            self._version, self._invocation = change.version, f"{next(self._starts):032x}"
        change.ended.set()

    async def _observe(self, unit: str, seconds: str) -> str:
        change = self._changes.get(unit)
        if change is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(float(seconds)):
                    await change.ended.wait()
        return self._observation(unit)

    def _observation(self, unit: str | None = None) -> str:
        units = [_properties(self._service_unit())]
        if unit is not None:
            units.append(_properties({"Id": unit, **_transient_unit(self._changes.get(unit))}))
        sections = {
            "units": "\n\n".join(units),
            "transaction": unit or "",
            "package": f"ii \t{self._version}\t{self._architecture}",
            "file": EXECUTABLE,
            "stale": "",
            "boot": _BOOT_ID,
            "verify": "",
        }
        return "".join(_section(name, 0, text) for name, text in sections.items())

    def _service_unit(self) -> dict[str, object]:
        return {
            "Id": f"{PACKAGE}.service",
            "LoadState": "loaded",
            "ActiveState": "active",
            "SubState": "running",
            "UnitFileState": "enabled",
            "MainPID": 42,
            "InvocationID": self._invocation,
            "NRestarts": 0,
            "Result": "success",
            "ExecMainStatus": 0,
            "ExecMainCode": 0,
            "ExecMainStartTimestampMonotonic": 1,
            "ExecMainExitTimestampMonotonic": 0,
        }


def _transient_unit(change: _Change | None) -> dict[str, object]:
    ended = change is not None and change.ended.is_set()
    if change is None:
        load, active, sub = "not-found", "inactive", "dead"
    else:
        load, active, sub = "loaded", "active", "exited" if ended else "running"
    return {
        "LoadState": load,
        "ActiveState": active,
        "SubState": sub,
        "UnitFileState": "transient" if change else "",
        "MainPID": 43 if change and not ended else 0,
        "InvocationID": "",
        "NRestarts": 0,
        "Result": "success",
        "ExecMainStatus": 0,
        "ExecMainCode": 1 if ended else 0,
        "ExecMainStartTimestampMonotonic": _microseconds(change.started_at) if change else 0,
        "ExecMainExitTimestampMonotonic": _microseconds(change.ends_at) if change and ended else 0,
    }


def _microseconds(seconds: float) -> int:
    return int(seconds * 1e6)


def _properties(properties: Mapping[str, object]) -> str:
    return "\n".join(f"{name}={value}" for name, value in properties.items())


def _section(name: str, code: int, text: str) -> str:
    return "".join(f" {line}\n" for line in text.split("\n")) + f"{name} {code}\n"
