"""Faults of simulated hosts: one for each kind of the table that a host can have."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from devkit.simulated.cloud import FakeCloud
from devkit.simulated.host import SimulatedHost
from devkit.simulated.hosts import SimulatedHosts, SimulatedShell
from relight.domain.machine import Machine
from relight.hosts import errors
from relight.hosts.errors import Destination, RemoteError
from relight.hosts.questions import Section
from relight.hosts.shell import Completed

Raises = Callable[[Destination], RemoteError]

_CONNECT: Mapping[str, type[RemoteError]] = {
    "host-unreachable": errors.HostUnreachableError,
    "host-booting": errors.HostNotReadyError,
    "host-key-mismatch": errors.HostKeyMismatchError,
    "login-refused": errors.LoginRefusedError,
}
"""Faults of a connection, with the error that it raises."""

_COMMAND: Mapping[str, type[RemoteError]] = {
    "sudo-refused": errors.SudoRefusedError,
    "host-program-missing": errors.HostProgramMissingError,
    "command-failed": errors.CommandFailedError,
    "command-timeout": errors.CommandTimeoutError,
    "unreadable-answer": errors.UnreadableAnswerError,
}
"""Faults of each command."""

_PASSING: Mapping[str, type[RemoteError]] = {
    "connection-lost": errors.ConnectionLostError,
    "transaction-lost": errors.TransactionLostError,
}
"""Faults of some commands, which have done their work."""

_APT: Mapping[str, str] = {
    "dpkg-lock-held": "E: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend)",
    "lists-lock-held": "E: Unable to lock directory /var/lib/apt/lists/",
    "dpkg-interrupted": "E: dpkg was interrupted, you must manually run 'dpkg --configure -a'",
    "disk-full": "E: You don't have enough free space in /var/cache/apt/archives/.",
    "packages-held": "E: Held packages were changed and -y was used without a further option.",
    "clock-behind": "E: Release file for http://r/InRelease is not valid yet (for another 2h).",
    "apt-failed": "E: Sub-process /usr/bin/something returned an error code",
    "dependencies-missing": " lantern-box : Depends: libfoo but it is not installable",
    "repository-unreachable": "E: Failed to fetch http://r/a.deb  Could not connect",
    "repository-inconsistent": "E: Failed to fetch http://r/a.deb  Hash Sum mismatch",
    "repository-untrusted": "W: GPG error: http://r stable InRelease: EXPKEYSIG",
    "version-not-listed": "E: Unable to locate package lantern-box",
    "maintainer-script-failed": "dpkg: error processing package lantern-box (--configure):\n"
    " installed lantern-box package post-installation script subprocess returned error",
}
"""Faults of each change of a package, with what apt prints."""

_UNIT: Mapping[str, Mapping[str, Any]] = {
    "unit-failed": {"ActiveState": "failed", "SubState": "failed", "MainPID": 0},
    "unit-crash-looping": {"ActiveState": "activating", "SubState": "auto-restart", "MainPID": 0},
    "unit-not-active": {"ActiveState": "inactive", "SubState": "dead", "MainPID": 0},
    "unit-not-found": {"LoadState": "not-found"},
    "unit-masked": {"LoadState": "masked"},
}
"""Faults of the service's unit that no change of the package repairs."""

_STATE: Mapping[str, Callable[[SimulatedHost], None]] = {
    "unit-disabled": lambda host: setattr(host, "enabled", False),
    "stale-process": lambda host: setattr(host, "running_file", -1),
    "package-damaged": lambda host: host.damaged.append("/usr/bin/lantern-box"),
    "package-not-installed": lambda host: setattr(host, "status", "iU"),
    "package-version-differs": lambda host: setattr(host, "version", "0.0.70"),
}
"""Faults that the next change of the package repairs."""

_OTHER = ("probe-failed", "probe-not-runnable", "change-timed-out")

KINDS: Sequence[str] = sorted(
    [*_CONNECT, *_COMMAND, *_PASSING, *_APT, *_UNIT, *_STATE, *_OTHER, "first-boot-failed"]
)
"""Every kind that `FaultyHosts` simulates."""

PASSES_AFTER = 3
"""How many commands a passing fault hits."""


class FaultyHosts(SimulatedHosts):
    """Simulated hosts that can have a fault each.

    Attributes:
        faults: the kind of fault that each machine has, by its key.
        boots_that_fail: how many of the next first boots fail.
    """

    def __init__(self, *clouds: FakeCloud) -> None:
        super().__init__(*clouds)
        self.faults: dict[str, str] = {}
        self.boots_that_fail = 0
        self._passing: dict[str, int] = {}

    def set_fault(self, machine: Machine, kind: str) -> None:
        """Give a machine a fault instead of the one that it has."""
        self.cure(machine.key)
        host = self.host(machine.key)
        if kind == "first-boot-failed":
            self.boots_that_fail += 1
            return
        self.faults[machine.key] = kind
        self._passing[machine.key] = PASSES_AFTER
        if host is None:
            return
        host.repository_fault = _APT.get(kind, "")
        host.unit_faults = dict(_UNIT.get(kind, {}))
        host.hangs = kind == "change-timed-out"
        host.unhealthy_version = host.version if kind == "probe-failed" else None
        if (change := _STATE.get(kind)) is not None:
            change(host)

    def cure(self, key: str) -> None:
        """Remove the fault of a machine, as a person does who repairs it."""
        self.faults.pop(key, None)
        if (host := self.host(key)) is not None:
            host.repository_fault, host.unit_faults = "", {}
            host.hangs, host.unhealthy_version = False, None

    @asynccontextmanager
    async def connect(self, machine: Machine) -> AsyncIterator[SimulatedShell]:
        """Connect to a host, unless its fault forbids that."""
        destination = Destination(machine.address or "", 22, "relight", machine.key)
        if error := _CONNECT.get(self.faults.get(machine.key, "")):
            raise error("simulated", destination=destination, attempted="connect")
        is_new = self.host(machine.key) is None
        async with super().connect(machine) as shell:
            if is_new and self.boots_that_fail:
                self.boots_that_fail -= 1
                failing = self.host(machine.key)
                assert failing is not None
                failing.steps["install"], failing.logs["install"] = 1, "simulated"
            yield _FaultyShell(shell, lambda: self._error(destination))

    async def probe(self, destination: Destination) -> str:
        """Check whether a host is healthy."""
        if self.faults.get(destination.machine_key) == "probe-not-runnable":
            raise errors.ProbeNotRunnableError("simulated", destination=destination)
        return await super().probe(destination)

    def _error(self, destination: Destination) -> RemoteError | None:
        """Return the error of the command that has just run, if the host's fault is one."""
        key = destination.machine_key
        kind = self.faults.get(key, "")
        if error := _COMMAND.get(kind):
            return error("simulated", destination=destination, attempted="run a command")
        if (error := _PASSING.get(kind)) and self._passing[key] > 0:
            self._passing[key] -= 1
            return error("simulated", destination=destination, attempted="run a command")
        return None


class _FaultyShell(SimulatedShell):
    """A shell whose commands fail after they have run."""

    def __init__(self, shell: SimulatedShell, error: Callable[[], RemoteError | None]) -> None:
        self._shell, self._error = shell, error

    @property
    def destination(self) -> Destination:
        return self._shell.destination

    async def ask(
        self, questions: Mapping[str, Sequence[str]], *, timeout: timedelta, sudo: bool = False
    ) -> dict[str, Section]:
        answers = await self._shell.ask(questions, timeout=timeout, sudo=sudo)
        self._check()
        return answers

    async def run(
        self,
        argv: Sequence[str],
        *,
        stdin: str | bytes | None = None,
        timeout: timedelta,
        check: bool = True,
        sudo: bool = False,
    ) -> Completed:
        completed = await self._shell.run(
            argv, stdin=stdin, timeout=timeout, check=check, sudo=sudo
        )
        self._check()
        return completed

    def _check(self) -> None:
        if error := self._error():
            raise error
