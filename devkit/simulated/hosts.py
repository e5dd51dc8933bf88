"""Hosts in memory, which answer the commands that the control plane sends.

They pass the same contract test as the lab's machines (`tests/activities/test_host_contract.py`),
and their releases behave as the lab's do: the maintainer script of 0.0.75 fails, 0.0.76 crashes on
start, 0.0.77 is unhealthy. 0.0.78, which the lab does not have, is good.
"""

import asyncio
import base64
import hashlib
import shlex
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

from activities.image.on_machine import NO_IMAGE_EXIT_CODE
from devkit.simulated.cloud import FakeCloud
from devkit.simulated.host import (
    EXECUTABLE,
    LISTED,
    UNHEALTHY,
    UNIT,
    Gate,
    SimulatedHost,
)
from relight.domain.liveness import ProbeResult
from relight.domain.machine import Machine
from relight.hosts import authorized_keys, host_program
from relight.hosts.errors import (
    Destination,
    HostKeyMismatchError,
    HostUnreachableError,
    LoginRefusedError,
    ProbeFailedError,
    RemoteError,
)
from relight.hosts.host_key_probe import ShownKey
from relight.hosts.key_files import KeyRing, Keys
from relight.hosts.questions import Section
from relight.hosts.shell import Completed, command_failed
from relight.images.provision import MARKER

BOOT_ID = "6c7b5e3a-0000-4000-8000-000000000000"

_STALE = f"{UNIT} has process 7, which runs the old {EXECUTABLE} (deleted)"


class SimulatedHosts:
    """The hosts of all machines in fake clouds, and the connections to them.

    Attributes:
        gate: blocks every installation until it is opened, if there is one.
        repository_fault: what apt prints when the repository is at fault; empty if it is not.
        unreachable: the keys of machines that refuse connections.
        lingering: the keys of machines that go on when their provider has none of them any more.
        mute: the keys of machines that do not answer the liveness probe, and admit logins.
        locked_out: the error with which a machine locks the control plane out, by its key.
        all_locked_out: the error with which all machines do so; None if they do not.
        keys: returns the keys of the control plane; None if no host asks for any.
        violated: what the check of a contract prints on machines of an image, by the image's id;
            None: they lack the mark of an image.
    """

    def __init__(self, *clouds: FakeCloud) -> None:
        self._clouds = {cloud.name: cloud for cloud in clouds}
        self._hosts: dict[str, SimulatedHost] = {}
        self._busy: Counter[str] = Counter()
        self._max_busy: Counter[str] = Counter()
        self.gate: Gate | None = None
        self.repository_fault = ""
        self.unreachable: set[str] = set()
        self.lingering: set[str] = set()
        self.mute: set[str] = set()
        self.locked_out: dict[str, type[RemoteError]] = {}
        self.all_locked_out: type[RemoteError] | None = None
        self.keys: Keys | None = None
        self.violated: dict[str, list[str] | None] = {}

    def add(self, cloud: FakeCloud) -> None:
        """Give the machines of another cloud hosts too."""
        self._clouds[cloud.name] = cloud

    def of(self, route_id: str) -> SimulatedHost:
        """Return the host of the route's first machine."""
        return self._hosts[f"{route_id}-g1"]

    def host(self, key: str) -> SimulatedHost | None:
        """Return the host of a machine, None before its first boot."""
        return self._hosts.get(key)

    def hold_installs(self) -> Gate:
        """Block every installation from now on, until the gate is opened."""
        self.gate = Gate()
        return self.gate

    def max_concurrent(self, activity: str) -> int:
        """Return the largest number of hosts that were busy with an activity at the same time."""
        return self._max_busy[activity]

    @asynccontextmanager
    async def counted(self, activity: str) -> AsyncIterator[None]:
        """Count a host as busy with an activity until the block ends."""
        self._busy[activity] += 1
        self._max_busy[activity] = max(self._max_busy[activity], self._busy[activity])
        try:
            yield
        finally:
            self._busy[activity] -= 1

    @asynccontextmanager
    async def connect(self, machine: Machine) -> AsyncIterator["SimulatedShell"]:
        async with self.connect_with(machine) as shell:
            yield shell

    @asynccontextmanager
    async def connect_with(
        self, machine: Machine, *, client: str | None = None, secret: str | None = None
    ) -> AsyncIterator["SimulatedShell"]:
        """Open a shell, as described in `relight.hosts.connections.KeyedHosts`."""
        destination = Destination(machine.address or "", 22, "relight", machine.key)
        cloud = self._clouds[machine.provider]
        if machine.key in self.unreachable or cloud.read(machine.key) is None:
            raise HostUnreachableError("no such host", destination=destination, attempted="connect")
        refused = self.locked_out.get(machine.key, self.all_locked_out)
        if refused is not None:
            raise refused("it locks us out", destination=destination, attempted="connect")
        if machine.key not in self._hosts:
            host = SimulatedHost(self)
            image = cloud.machine_image(machine.key)
            host.violated = None if image is None else self.violated.get(image, [])
            host.first_boot(cloud.user_data[machine.key])
            self._hosts[machine.key] = host
        host = self._hosts[machine.key]
        if self.keys is not None:
            _log_in(host, self.keys(), destination, client=client, secret=secret)
        yield SimulatedShell(host, destination)

    async def probe(self, destination: Destination) -> str:
        """Check whether a host is healthy, as `relight.hosts.probe.HttpProbe` does."""
        request = f"GET http://{destination.address}:8899/healthz"
        host = self._hosts[destination.machine_key]
        if host.running in {UNHEALTHY, host.unhealthy_version}:
            body = (
                f'{{"status":"unhealthy","version":"{UNHEALTHY}","reason":"no upstream answers"}}'
            )
            raise ProbeFailedError(f"503 {body}", destination=destination, attempted=request)
        return f"{request}: 200"

    async def answer(self, machine_key: str, address: str) -> ProbeResult:
        """Tell whether a machine answers, as `relight.hosts.liveness.SshLivenessProbe` does."""
        exists = any(cloud.read(machine_key) is not None for cloud in self._clouds.values())
        if not exists or machine_key in self.unreachable | self.mute:
            return ProbeResult.SILENT
        return ProbeResult.ANSWERED

    async def shown_key(self, machine_key: str, address: str) -> ShownKey:
        """Tell which host key a machine shows, as `relight.hosts.host_key_probe` does."""
        return ShownKey.OWN if machine_key in self.lingering else ShownKey.NONE


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
        return {name: Section(output, code) for name, (code, output) in answers.items()}

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
        if program == "/bin/sh" and words[-1] == MARKER:
            assert isinstance(stdin, str)
            code, output = self._check_image(stdin)
        elif program == "/bin/sh" and not sudo:
            code, output = self._change_keys(*words)
        else:
            assert (program, sudo) == (str(host_program.PROGRAM), True)
            if verb == "host-key":
                assert isinstance(stdin, str)
                code, output = self._change_host_key(stdin)
            elif verb == "configure":
                assert isinstance(stdin, str)
                code, output = self._configure(stdin)
            else:
                code, output = await self._call(verb, words)
        completed = Completed(tuple(argv), code, output, "" if code == 0 else output)
        if check and code != 0:
            raise command_failed(completed, self._destination, f"run {program}")
        return completed

    def _check_image(self, script: str) -> tuple[int, str]:
        """Do what the program of `relight.images.check` does: the host holds all but some lines."""
        if self._host.violated is None:
            return NO_IMAGE_EXIT_CODE, ""
        rows = script.partition("<<'CONTRACT'\n")[2].partition("CONTRACT\n")[0].splitlines()
        violated = "".join(f"{line}\n" for line in self._host.violated)
        return 0, f"{violated}end\t{len(rows)}\n"

    def _change_keys(self, script: str, _name: str, *words: str) -> tuple[int, str]:
        """Do what a script of `relight.hosts.authorized_keys` does."""
        host, (first, second) = self._host, words
        if script == authorized_keys.ADD:
            if not any(line.startswith(first) for line in host.authorized_keys):
                host.authorized_keys.append(second)
            return 0, ""
        assert script == authorized_keys.REMOVE
        if not any(line.startswith(second) for line in host.authorized_keys):
            return 3, "authorized_keys does not have the key that is to stay"
        host.authorized_keys = [line for line in host.authorized_keys if first not in line]
        return 0, ""

    def _change_host_key(self, keys: str) -> tuple[int, str]:
        """Do what `relight-host host-key` does with the two keys that it reads."""
        host = self._host
        if keys.endswith(host.host_key):
            return 0, ""
        if not keys.startswith(host.host_key):
            return 77, "relight: refused: the caller does not know the present host key"
        if host.keeps_host_key:
            said = "sshd has an error [here](http://elsewhere)"
            return 91, f"relight: the host key was not changed: {said}"
        host.host_key = keys.removeprefix(host.host_key)
        return 0, ""

    def _configure(self, read: str) -> tuple[int, str]:
        """Do what `relight-host configure` does, for settings without an apt source."""
        host = self._host
        if not read.startswith(host.host_key):
            return 77, "relight: refused: the caller does not know the present host key"
        lines = sorted(read.removeprefix(host.host_key).splitlines())
        contents = b"".join(base64.b64decode(line.partition(" ")[2]) for line in lines)
        host.settings = hashlib.sha256(host.host_key.encode() + contents).hexdigest()
        return 0, ""

    async def _call(self, verb: str, words: list[str]) -> tuple[int, str]:
        """Answer a call of `relight-host`."""
        host = self._host
        match verb, words:
            case "swap", [unit, _, deadline, *rest]:
                return await self._swap(unit, deadline, rest)
            case "observe", [] | [_, _]:
                if words:
                    await host.wait_for(words[0])
                return 0, self._observed(words[0] if words else None)
            case "dry-run", [version, _, *_]:
                missing = f"E: Version '{version}' for 'lantern-box' was not found"
                fault = "" if version in LISTED else missing
                if host.dry_run_faults:
                    fault = host.dry_run_faults.pop(0)
                return (100, fault) if fault else (0, "")
            case "log", [unit]:
                return 0, host.transactions[unit].output
            case "stage" | "forget" | "stop", [name]:
                (host.staged.add if verb == "stage" else host.forget)(name)
                return 0, ""
            case "journal", [_]:
                return 0, "\n".join(host.journal)
            case "step", [name]:
                return 0, host.logs[name]
        raise AssertionError(f"unknown command of relight-host: {verb} {words}")

    async def _swap(self, unit: str, deadline: str, rest: list[str]) -> tuple[int, str]:
        host, settings, configuration = self._host, "any", ""
        if len(rest) in {3, 4, 7, 8}:
            settings, *rest = rest
        if len(rest) in {3, 7}:
            configuration, *rest = rest
        if settings not in {"any", host.settings}:
            return host_program.OTHER_SETTINGS_EXIT_CODE, "relight: this host has other settings"
        if configuration and not host.has(configuration):
            return host_program.NO_CONFIGURATION_EXIT_CODE, "relight: no configuration"
        version, leave = rest[:2]
        begun = host.start(unit, float(deadline), version, leave, configuration)
        await host.wait_for(unit)
        return 0, _section("begin", *begun) + self._observed(unit)

    def _observed(self, unit: str | None = None) -> str:
        host = self._host
        shown = [_shown({"Id": UNIT, **host.unit_properties})]
        if unit is not None:
            shown.append(_shown({"Id": unit, **host.transaction_properties(unit)}))
        same = host.running_file == host.file
        sections = {
            "units": (0, "\n\n".join(shown)),
            "transaction": (0, unit or ""),
            "package": (0, f"{host.status} \t{host.version}\tamd64") if host.version else (1, ""),
            "file": (0, EXECUTABLE) if same else (1, f"{EXECUTABLE} (deleted)"),
            "stale": (0, "" if same else _STALE),
            "boot": (0, BOOT_ID),
            "verify": (0, "\n".join(f"??5??????   {path}" for path in host.damaged)),
            "configuration": (0, "\n".join([host.configuration, *host.edited])),
        }
        if host.settings:
            sections["settings"] = (0, host.settings)
        if not host.unit_properties["MainPID"]:
            sections["file"], sections["stale"] = (1, ""), (0, "")
        return "".join(_section(name, code, output) for name, (code, output) in sections.items())

    def _read(self, argv: list[str]) -> tuple[int, str]:
        """Answer a command other than `relight-host`."""
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
        raise AssertionError(f"unknown command: {shlex.join(argv)}")


def _log_in(
    host: SimulatedHost,
    ring: KeyRing,
    destination: Destination,
    *,
    client: str | None,
    secret: str | None,
) -> None:
    """Log in as `relight.hosts.connections.SshHosts` does.

    Raises:
        RemoteError: the host shows another host key, or accepts none of the client keys.
    """
    secrets = ring.secrets if secret is None else (ring.secret(secret),)
    clients = ring.clients if client is None else (ring.client(client),)
    expected = [each.host_key(destination.machine_key).private for each in secrets]
    if host.host_key not in expected:
        raise HostKeyMismatchError("another host key", destination=destination)
    accepted = [*host.authorized_keys, *host.other_authorized_keys]
    if not any(line.startswith(each.public) for line in accepted for each in clients):
        raise LoginRefusedError("no key is accepted", destination=destination)


def _shown(properties: Mapping[str, object]) -> str:
    return "\n".join(f"{name}={value}" for name, value in properties.items())


def _section(name: str, code: int, output: str) -> str:
    return "".join(f" {line}\n" for line in output.split("\n")) + f"{name} {code}\n"
