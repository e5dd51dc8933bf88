"""Hosts in memory, which answer the commands that the control plane really sends.

They pass the same contract as the lab's machines (`tests/activities/test_host_contract.py`), and
know what the lab's releases are like: 0.0.75's maintainer script fails, 0.0.76 crashes on start,
0.0.77 is not healthy. Beside the lab's there is 0.0.78, which is good.
"""

import asyncio
import shlex
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

from relight.domain.machine import Machine
from relight.hosts import host_program
from relight.hosts.commands import Section
from relight.hosts.errors import Destination, HostUnreachableError, ProbeFailedError
from relight.hosts.shell import Completed, command_failed
from tests.support.fake_cloud import FakeCloud
from tests.support.simulated_host import (
    EXECUTABLE,
    LISTED,
    UNHEALTHY,
    Gate,
    SimulatedHost,
)

BOOT_ID = "6c7b5e3a-0000-4000-8000-000000000000"


class SimulatedHosts:
    """The way to every simulated host.

    Attributes:
        gate: what holds every installation up, where there is one.
        repository_fault: what apt says of the repository, where that is at fault.
        unreachable: the keys of machines that no connection comes to.
    """

    def __init__(self, cloud: FakeCloud) -> None:
        self._cloud = cloud
        self._hosts: dict[str, SimulatedHost] = {}
        self._now: Counter[str] = Counter()
        self._most: Counter[str] = Counter()
        self.gate: Gate | None = None
        self.repository_fault = ""
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
            yield
        finally:
            self._now[what] -= 1

    @asynccontextmanager
    async def connect(self, machine: Machine) -> AsyncIterator["SimulatedShell"]:
        destination = Destination(machine.address or "", 22, "relight", machine.key)
        if machine.key in self.unreachable or self._cloud.seen(machine.key) is None:
            raise HostUnreachableError("no such host", destination=destination, attempted="connect")
        if machine.key not in self._hosts:
            host = SimulatedHost(self, machine.key)
            host.first_boot(self._cloud.user_data[machine.key])
            self._hosts[machine.key] = host
        yield SimulatedShell(self._hosts[machine.key], destination)

    async def probe(self, destination: Destination) -> str:
        """Ask a host whether it is healthy, as `relight.hosts.probe.HttpProbe` does."""
        asked = f"GET http://{destination.address}:8899/healthz"
        host = self._hosts[destination.machine_key]
        if host.running in {UNHEALTHY, host.sick_at}:
            said = (
                f'{{"status":"unhealthy","version":"{UNHEALTHY}","reason":"no upstream answers"}}'
            )
            raise ProbeFailedError(f"503 {said}", destination=destination, attempted=asked)
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
        await asyncio.sleep(0)
        answers = {name: self._read(list(argv)) for name, argv in questions.items()}
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
        program, verb, *words = argv
        assert (program, sudo) == (str(host_program.PROGRAM), True)
        code, said = await self._call(verb, words)
        completed = Completed(tuple(argv), code, said, "" if code == 0 else said)
        if check and code != 0:
            raise command_failed(completed, self._destination, f"run {program}")
        return completed

    async def _call(self, verb: str, words: list[str]) -> tuple[int, str]:
        """Answer a call of `relight-host`."""
        host = self._host
        match verb, words:
            case "swap", [unit, _, version, leave, *_]:
                begun = _section("begin", *host.begin(unit, version, leave))
                await host.wait_for(unit)
                return 0, begun + self._told(unit)
            case "see", []:
                return 0, self._told()
            case "see", [unit, _]:
                await host.wait_for(unit)
                return 0, self._told(unit)
            case "rehearse", [version, _, *_]:
                listed = version in LISTED
                missing = f"E: Version '{version}' for 'lantern-box' was not found"
                return (0, "") if listed else (100, missing)
            case "said", [unit]:
                return 0, host.transactions[unit].said
            case "forget", [unit]:
                host.transactions.pop(unit, None)
                return 0, ""
            case "journal", [_]:
                return 0, "\n".join(host.journal)
            case "step", [name]:
                return 0, host.logs[name]
        raise AssertionError(f"a simulated host does not know {verb} {words}")

    def _told(self, unit: str | None = None) -> str:
        host = self._host
        shown = [_shown(host.unit_properties)]
        if unit is not None:
            shown.append(_shown(host.transaction_properties(unit)))
        same = host.running_file == host.file
        sections = {
            "units": (0, "\n\n".join(shown)),
            "package": (0, f"{host.status} \t{host.version}\tamd64") if host.version else (1, ""),
            "file": (0, EXECUTABLE) if same else (1, f"{EXECUTABLE} (deleted)"),
            "boot": (0, BOOT_ID),
            "verify": (0, ""),
        }
        if not host.unit_properties["MainPID"]:
            sections["file"] = 1, ""
        return "".join(_section(name, code, said) for name, (code, said) in sections.items())

    def _read(self, argv: list[str]) -> tuple[int, str]:
        """Answer what is asked without `relight-host`."""
        host = self._host
        match argv:
            case ["cat", "/proc/sys/kernel/random/boot_id"]:
                return 0, BOOT_ID
            case ["cat", "/run/cloud-init/result.json"]:
                failed = any(host.steps.values())
                errors = '["scripts_user failed"]' if failed else "[]"
                return 0, f'{{"v1": {{"errors": {errors}}}}}'
            case ["tail", "-c", _, "/var/log/dpkg.log"]:
                return 0, "".join(f"install {version}\n" for version in host.installs)
            case ["cat", path] if path.endswith("/steps"):
                return 0, "".join(f"{name} {code}\n" for name, code in host.steps.items())
        raise AssertionError(f"a simulated host does not know {shlex.join(argv)}")


def _shown(properties: Mapping[str, object]) -> str:
    return "\n".join(f"{name}={value}" for name, value in properties.items())


def _section(name: str, code: int, said: str) -> str:
    return "".join(f" {line}\n" for line in said.split("\n")) + f"{name} {code}\n"
