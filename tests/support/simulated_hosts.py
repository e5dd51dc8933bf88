"""Hosts in memory, which answer the commands that the control plane really sends.

They pass the same contract as the lab's machines (`tests/activities/test_host_contract.py`), and
know what the lab's releases are like: 0.0.75's maintainer script fails, 0.0.76 crashes on start,
0.0.77 is not healthy.
"""

import asyncio
import base64
import itertools
import re
import shlex
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import yaml
from debian.debian_support import Version

from messages.machine import Machine
from remote import proof
from remote.destination import Destination
from remote.errors import HostUnreachableError, ProbeFailedError
from remote.sections import Section
from remote.shell import Completed, command_failed
from tests.support.fake_cloud import FakeCloud

PACKAGE, UNIT, EXECUTABLE = "lantern-box", "lantern-box.service", "/usr/bin/lantern-box"
SCRIPT_FAILS, CRASHES, UNHEALTHY = "0.0.75", "0.0.76", "0.0.77"

_INSTALL = re.compile(rf"{PACKAGE}=([^\s']+)")
_PANIC = "lantern-box: panic: it cannot go on"


class Gate:
    """Holds whoever comes to it until it is opened."""

    def __init__(self) -> None:
        self._reached = asyncio.Event()
        self._open = asyncio.Event()

    async def pass_through(self) -> None:
        self._reached.set()
        await self._open.wait()

    async def reached(self) -> None:
        """Wait until somebody is held."""
        async with asyncio.timeout(30):
            await self._reached.wait()

    def open(self) -> None:
        self._open.set()


class SimulatedHost:
    """One machine, from its first boot on.

    Attributes:
        installs: every version that apt was really made to install, in order.
    """

    def __init__(self, fleet: "SimulatedHosts", key: str) -> None:
        self._fleet = fleet
        self._key = key
        self._invocations = itertools.count(1)
        self.installs: list[str] = []
        self.status, self.version = "un", ""
        self.running: str | None = None
        self.invocation, self.enabled = "", False
        self.journal: list[str] = []
        self.steps: dict[str, int] = {}
        self.transactions: dict[str, tuple[int, str]] = {}

    def first_boot(self, user_data: str) -> None:
        """Do what the user-data's own script says."""
        version = _version_in(user_data)
        code, said = self._install(version)
        self.steps["install"] = code
        if code == 0:
            self.enabled = True
            self.start()
            self.steps["service"] = 0
        else:
            self.journal.append(said)

    async def transaction(self, unit: str, script: str) -> None:
        """Do what a transient unit does; a unit of this name that is there is left alone."""
        version = _installed_by(script)
        async with self._fleet.counted("install"):
            if self._fleet.gate is not None:
                await self._fleet.gate.pass_through()
            self.transactions[unit] = self._install(version)

    def _install(self, version: str) -> tuple[int, str]:
        if version == self.version and self.status == "ii":
            return 0, f"{PACKAGE} is already the newest version ({version})."
        if self.version and Version(version) < Version(self.version):
            return 100, "E: Packages were downgraded and -y was used without --allow-downgrades."
        self.installs.append(version)
        self.version = version
        if version == SCRIPT_FAILS:
            self.status = "iF"
            return 100, (
                f"dpkg: error processing package {PACKAGE} (--configure):\n"
                f" installed {PACKAGE} package post-installation script subprocess returned "
                "error exit status 3"
            )
        self.status = "ii"
        return 0, f"Setting up {PACKAGE} ({version}) ..."

    def start(self) -> None:
        """Start the unit anew, from what is installed."""
        self.invocation = f"{next(self._invocations):032x}"
        self.running = self.version
        if self.version == CRASHES:
            self.journal.append(_PANIC)

    @property
    def unit_properties(self) -> dict[str, Any]:
        up = self.running is not None and self.running != CRASHES
        return {
            "LoadState": "loaded" if self.version else "not-found",
            "ActiveState": "active" if up else ("activating" if self.running else "inactive"),
            "SubState": "running" if up else ("auto-restart" if self.running else "dead"),
            "UnitFileState": "enabled" if self.enabled else "disabled",
            "MainPID": 42 if up else 0,
            "InvocationID": self.invocation,
            "NRestarts": 0 if up else 3,
            "Result": "success" if up else "exit-code",
            "ExecMainStatus": 0,
            "ExecMainCode": 0,
            "ExecMainStartTimestampMonotonic": 1,
            "ExecMainExitTimestampMonotonic": 0,
        }

    def transaction_properties(self, unit: str) -> dict[str, Any]:
        known = unit in self.transactions
        code = self.transactions[unit][0] if known else 0
        return {
            **self.unit_properties,
            "LoadState": "loaded" if known else "not-found",
            "ActiveState": "inactive" if not known else ("failed" if code else "active"),
            "SubState": "dead" if not known else ("failed" if code else "exited"),
            "InvocationID": unit,
            "ExecMainStatus": code,
            "ExecMainCode": 1,
            "ExecMainExitTimestampMonotonic": 2,
        }


class SimulatedHosts:
    """The way to every simulated host.

    Attributes:
        gate: what holds every installation up, where there is one.
        unreachable: the keys of machines that no connection comes to.
    """

    def __init__(self, cloud: FakeCloud) -> None:
        self._cloud = cloud
        self._hosts: dict[str, SimulatedHost] = {}
        self._now: Counter[str] = Counter()
        self._most: Counter[str] = Counter()
        self.gate: Gate | None = None
        self.unreachable: set[str] = set()

    def of(self, route_id: str) -> SimulatedHost:
        """Return the host of the route's first machine."""
        return self._hosts[f"{route_id}-g1"]

    def hold_installs(self) -> Gate:
        """Hold every installation up from now on, until the gate is opened."""
        self.gate = Gate()
        return self.gate

    def most_at_once(self, what: str) -> int:
        """Return how many hosts were at it at the same time, at most."""
        return self._most[what]

    @asynccontextmanager
    async def counted(self, what: str) -> AsyncIterator[None]:
        """Count a host as being at it."""
        self._now[what] += 1
        self._most[what] = max(self._most[what], self._now[what])
        try:
            await asyncio.sleep(0)
            yield
        finally:
            self._now[what] -= 1

    @asynccontextmanager
    async def connect(self, machine: Machine) -> AsyncIterator["SimulatedShell"]:
        destination = Destination(machine.address or "", 22, "relight", machine.key)
        if machine.key in self.unreachable or await self._cloud.find(machine.key) is None:
            raise HostUnreachableError("no such host", destination=destination, attempted="connect")
        if machine.key not in self._hosts:
            host = SimulatedHost(self, machine.key)
            host.first_boot(self._cloud.user_data[machine.key])
            self._hosts[machine.key] = host
        yield SimulatedShell(self._hosts[machine.key], destination)

    async def probe(self, destination: Destination) -> str:
        """Ask a host whether it is healthy, as `remote.probe.HttpProbe` does."""
        asked = f"GET http://{destination.address}:8899/healthz"
        if self._hosts[destination.machine_key].running == UNHEALTHY:
            raise ProbeFailedError("503 degraded", destination=destination, attempted=asked)
        return f"{asked}: 200"


class SimulatedShell:
    """A shell on a simulated host."""

    def __init__(self, host: SimulatedHost, destination: Destination) -> None:
        self._host = host
        self._destination = destination

    @property
    def destination(self) -> Destination:
        return self._destination

    async def ask(
        self, questions: Mapping[str, Sequence[str]], *, timeout: timedelta, sudo: bool = False
    ) -> dict[str, Section]:
        answers = {name: await self._answer(list(argv)) for name, argv in questions.items()}
        return {name: Section(said, code) for name, (code, said) in answers.items()}

    async def run(
        self,
        argv: Sequence[str],
        *,
        stdin: str | bytes | None = None,
        timeout: timedelta,
        check: bool = True,
        sudo: bool = False,
    ) -> Completed:
        code, said = await self._answer(list(argv))
        completed = Completed(tuple(argv), code, said, "" if code == 0 else said)
        if check and code != 0:
            raise command_failed(completed, self._destination, f"run {argv[0]}")
        return completed

    async def _answer(  # noqa: C901, PLR0911, PLR0912 - one case a command
        self, argv: list[str]
    ) -> tuple[int, str]:
        host = self._host
        match argv:
            case ["dpkg-query", *_]:
                if not host.version:
                    return 1, "no packages found"
                return 0, f"{host.status} \t{host.version}\tamd64\n"
            case ["systemctl", "show", *_, unit]:
                found = host.unit_properties if unit == UNIT else host.transaction_properties(unit)
                return 0, "".join(f"{name}={value}\n" for name, value in found.items())
            case ["/bin/sh", "-c", proof.RUNNING_FILE_SCRIPT, *_]:
                same = host.running == host.version
                return (0, EXECUTABLE) if same else (1, f"{EXECUTABLE} (deleted)")
            case ["systemd-run", *options, "/bin/sh", "-c", script]:
                unit = next(o for o in options if o.startswith("--unit=")).removeprefix("--unit=")
                await host.transaction(unit, script)
                return 0, ""
            case ["journalctl", *_, last] if last.startswith("_SYSTEMD_INVOCATION_ID="):
                return 0, host.transactions[last.partition("=")[2]][1]
            case ["systemctl", "restart", *_]:
                host.start()
                return 0, ""
            case ["systemctl", "stop", *_, unit]:
                host.transactions.pop(unit, None)
                return 0, ""
            case ["journalctl", *_]:
                return 0, "\n".join(host.journal)
            case ["cat", "/proc/sys/kernel/random/boot_id"]:
                return 0, "6c7b5e3a-0000-4000-8000-000000000000\n"
            case ["cat", "/run/cloud-init/result.json"]:
                failed = any(host.steps.values())
                errors = '["scripts_user failed"]' if failed else "[]"
                return 0, f'{{"v1": {{"errors": {errors}}}}}'
            case ["cat", path] if path.endswith("/steps"):
                return 0, "".join(f"{name} {code}\n" for name, code in host.steps.items())
            case ["cat", path] if path.endswith("/install.log"):
                return 0, "\n".join(host.journal)
            case ["systemctl", "daemon-reload" | "reset-failed" | "--quiet", *_]:
                return 0, ""
        raise AssertionError(f"a simulated host does not know {shlex.join(argv)}")


def _version_in(user_data: str) -> str:
    files = yaml.safe_load(user_data)["write_files"]
    scripts = [base64.b64decode(file["content"]).decode() for file in files]
    return _installed_by("\n".join(scripts))


def _installed_by(script: str) -> str:
    found = _INSTALL.search(script)
    assert found is not None
    return found[1]
