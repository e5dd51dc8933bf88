"""One host that is played: what its `relight-host` answers, and what its daemon is.

It plays a host on which all goes well. A change takes its time, and no CPU time.
"""

import asyncio
import contextlib
import itertools
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from relight.hosts import host_program
from relight.hosts.commands import SUDO

PACKAGE, EXECUTABLE = "lantern-box", "/usr/bin/lantern-box"

_CALLED_WRONGLY = 64
_NOT_FOUND = 127
_BOOT_ID = "6c7b5e3a-0000-4000-8000-000000000000"


class Answer(NamedTuple):
    """What a command came to."""

    exit_code: int
    stdout: str = ""
    stderr: str = ""


@dataclass(frozen=True)
class _Change:
    """A transient unit, by the event loop's clock in seconds."""

    version: str
    began: float
    ends: float
    over: asyncio.Event = field(default_factory=asyncio.Event)


class PlayedHost:
    """A host, from when it runs the daemon at a version."""

    def __init__(self, version: str, architecture: str, change_seconds: float) -> None:
        self._version = version
        self._architecture = architecture
        self._change_seconds = change_seconds
        self._changes: dict[str, _Change] = {}
        self._starts = itertools.count(1)
        self._invocation = f"{next(self._starts):032x}"

    @property
    def health(self) -> str:
        """What its daemon answers to the health probe."""
        return f'{{"status":"ok","version":"{self._version}"}}'

    async def run(self, command: str) -> Answer:
        """Run a command line, as its sshd would."""
        called = (*SUDO, str(host_program.PROGRAM))
        argv = tuple(shlex.split(command))
        if argv[: len(called)] != called:
            return Answer(_NOT_FOUND, stderr=f"a host that is played knows no {command}\n")
        return await self._call(argv[len(called) :])

    async def _call(self, words: tuple[str, ...]) -> Answer:
        """Answer as `relight-host` does."""
        match words:
            case ["swap", unit, seconds, version, "upgrade" | "rollback", *_]:
                begun = self._begin(unit, version)
                return Answer(0, begun + await self._see(unit, seconds))
            case ["see"]:
                return Answer(0, self._told())
            case ["see", unit, seconds]:
                return Answer(0, await self._see(unit, seconds))
            case ["rehearse", version, "upgrade" | "rollback", *_]:
                return Answer(0, f"Inst {PACKAGE} [{self._version}] ({version})\n")
            case ["said", _]:
                return Answer(0, f"Setting up {PACKAGE} ({self._version}) ...\n")
            case ["forget", unit]:
                self._changes.pop(unit, None)
                return Answer(0)
            case ["journal", _]:
                return Answer(0, f"{PACKAGE}: version {self._version} starts\n")
            case _:
                said = f"relight-host: it does not know: {shlex.join(words)}\n"
                return Answer(_CALLED_WRONGLY, stderr=said)

    def _begin(self, unit: str, version: str) -> str:
        if unit in self._changes:
            said = f"Failed to start transient service unit: Unit {unit} was already loaded."
            return _section("begin", 1, said)
        loop = asyncio.get_running_loop()
        now = loop.time()
        change = self._changes[unit] = _Change(version, now, now + self._change_seconds)
        # It goes on whoever looks.
        loop.call_at(change.ends, self._end, change)
        return _section("begin", 0, "")

    def _end(self, change: _Change) -> None:
        if change.version != self._version:
            self._version, self._invocation = change.version, f"{next(self._starts):032x}"
        change.over.set()

    async def _see(self, unit: str, seconds: str) -> str:
        change = self._changes.get(unit)
        if change is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(float(seconds)):
                    await change.over.wait()
        return self._told(unit)

    def _told(self, unit: str | None = None) -> str:
        shown = [_shown(self._service_unit())]
        if unit is not None:
            shown.append(_shown(_transient_unit(self._changes.get(unit))))
        sections = {
            "units": "\n\n".join(shown),
            "package": f"ii \t{self._version}\t{self._architecture}",
            "file": EXECUTABLE,
            "boot": _BOOT_ID,
            "verify": "",
        }
        return "".join(_section(name, 0, said) for name, said in sections.items())

    def _service_unit(self) -> dict[str, object]:
        return {
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
    ended = change is not None and change.over.is_set()
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
        "ExecMainStartTimestampMonotonic": _microseconds(change.began) if change else 0,
        "ExecMainExitTimestampMonotonic": _microseconds(change.ends) if change and ended else 0,
    }


def _microseconds(seconds: float) -> int:
    return int(seconds * 1e6)


def _shown(properties: Mapping[str, object]) -> str:
    return "\n".join(f"{name}={value}" for name, value in properties.items())


def _section(name: str, code: int, said: str) -> str:
    return "".join(f" {line}\n" for line in said.split("\n")) + f"{name} {code}\n"
