"""One host in memory: its package, its systemd unit, and how apt changes them."""

import asyncio
import itertools
import re
import uuid
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import yaml
from debian.debian_support import Version

from devkit.simulated.written_files import content
from relight.hosts.host_program import REFUSED_CONFIGURATION_EXIT_CODE

PACKAGE, UNIT, EXECUTABLE = "lantern-box", "lantern-box.service", "/usr/bin/lantern-box"
SCRIPT_FAILS, CRASHES, UNHEALTHY = "0.0.75", "0.0.76", "0.0.77"
LISTED = {"0.0.70", "0.0.73", "0.0.74", SCRIPT_FAILS, CRASHES, UNHEALTHY, "0.0.78"}

_INSTALL = re.compile(r"relight-host install (\S+) (upgrade|rollback)\b")
_REFUSED = "relight: the check of the configuration ended with exit code 1"
_PANIC = (
    "panic: runtime error: invalid memory address or nil pointer dereference",
    "goroutine 1 [running]:",
)
_SIGABRT, _SIGTERM = 6, 15

_WAIT_SECONDS = 0.05


@dataclass
class _Transaction:
    """A transient unit: its exit code once it has ended, its output, and its systemd result."""

    exit_code: int | None = None
    output: str = ""
    result: str = ""
    task: asyncio.Task[None] | None = None


class Gate:
    """Blocks every task that comes to it until it is opened."""

    def __init__(self) -> None:
        self._reached = asyncio.Event()
        self._open = asyncio.Event()

    async def pass_through(self) -> None:
        self._reached.set()
        await self._open.wait()

    async def reached(self) -> None:
        """Wait until a task is blocked."""
        async with asyncio.timeout(30):
            await self._reached.wait()

    def open(self) -> None:
        self._open.set()


class Fleet(Protocol):
    """What all hosts share; see `SimulatedHosts`."""

    gate: Gate | None
    repository_fault: str

    def counted(self, activity: str) -> AbstractAsyncContextManager[None]:
        """Count a host as busy with an activity until the block ends."""


class SimulatedHost:
    """One machine, from its first boot on.

    Attributes:
        unhealthy_version: a version that is unhealthy on this host only.
        repository_fault: what apt prints when the repository is at fault for this host only.
        dry_run_faults: what the next dry runs print when they fail, in order.
        installs: every version that apt installed, in order.
        status: dpkg's status of the package, as in `ii`.
        file: a number that changes whenever the executable is unpacked.
        running: the version that the service runs, None when it is stopped.
        running_file: the number of the file that it runs.
        damaged: the package's files that `dpkg --verify` complains of.
        unit_faults: properties of the service's unit that differ from those of a healthy host.
        hangs: each change runs into its deadline.
        authorized_keys: the lines of its user's file.
        other_authorized_keys: those of another file that its sshd reads too.
        host_key: its private SSH host key.
        keeps_host_key: it takes no other host key.
        staged: digests of configurations that it was brought.
        configuration: the digest of the one that its service has taken.
        edited: what was changed of its files since.
        refuses: the service's check refuses each configuration but the one that it has.
        violated: what the check of its image's contract prints; None: it is of no image of ours.
        settings: the digest of its settings; empty for a program that does not tell it.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._invocations = itertools.count(1)
        self.unhealthy_version: str | None = None
        self.repository_fault = ""
        self.dry_run_faults: list[str] = []
        self.installs: list[str] = []
        self.status, self.version = "un", ""
        self.file = 0
        self.running: str | None = None
        self.running_file = 0
        self.invocation, self.enabled = "", False
        self.damaged: list[str] = []
        self.unit_faults: dict[str, Any] = {}
        self.hangs = False
        self.authorized_keys: list[str] = []
        self.other_authorized_keys: list[str] = []
        self.host_key = ""
        self.keeps_host_key = False
        self.staged: set[str] = set()
        self.configuration = ""
        self.edited: list[str] = []
        self.refuses = False
        self.settings = ""
        self.violated: list[str] | None = None
        self.journal: list[str] = []
        self.steps: dict[str, int] = {}
        self.logs: dict[str, str] = {}
        self.transactions: dict[str, _Transaction] = {}
        self._working: set[asyncio.Task[None]] = set()

    def first_boot(self, user_data: str) -> None:
        """Do what cloud-init and the script in the user-data do."""
        config = yaml.load(user_data, yaml.CSafeLoader)
        self.authorized_keys = list(config["users"][0]["ssh_authorized_keys"])
        self.host_key = config["ssh_keys"]["ed25519_private"]
        found = _INSTALL.search(_scripts_in(user_data))
        assert found is not None
        self.steps["install"], self.logs["install"] = self._install(found[1], found[2])

    def start(
        self, unit: str, deadline: float, version: str, leave: str, configuration: str = ""
    ) -> tuple[int, str]:
        """Start a detached transaction and return; refuse if the unit exists.

        Args:
            unit: its name.
            deadline: in seconds; then it is stopped.
            version: what it installs.
            leave: `upgrade` or `rollback`.
            configuration: the digest of the one that the service takes; empty for none.
        """
        if unit in self.transactions:
            return 1, f"Failed to start transient service unit: Unit {unit} was already loaded."
        transaction = self.transactions[unit] = _Transaction()
        task = asyncio.create_task(
            self._transact(transaction, deadline, version, leave, configuration)
        )
        transaction.task = task
        self._working.add(task)
        task.add_done_callback(self._working.discard)
        return 0, ""

    def forget(self, unit: str) -> None:
        """Stop a transaction that runs, and delete it."""
        transaction = self.transactions.pop(unit, None)
        if transaction is not None and transaction.task is not None:
            transaction.task.cancel()

    async def wait_for(self, unit: str) -> None:
        """Wait a short while for a transaction to end."""
        transaction = self.transactions.get(unit)
        if transaction is not None and transaction.exit_code is None:
            await asyncio.wait(self._working, timeout=_WAIT_SECONDS)

    async def _transact(
        self,
        transaction: _Transaction,
        deadline: float,
        version: str,
        leave: str,
        configuration: str,
    ) -> None:
        async with self._fleet.counted("install"):
            try:
                async with asyncio.timeout(deadline):
                    if self._fleet.gate is not None and not self._is_installed(version):
                        await self._fleet.gate.pass_through()
                    if self.hangs:
                        await asyncio.Event().wait()
            except (TimeoutError, asyncio.CancelledError) as stop:
                self.status = "iF"  # dpkg was killed
                if isinstance(stop, asyncio.CancelledError):
                    raise
                transaction.exit_code, transaction.result = _SIGTERM, "timeout"
                return
            code, transaction.output = self._install(version, leave)
            if code == 0 and not self.take(configuration):
                code, transaction.output = REFUSED_CONFIGURATION_EXIT_CODE, _REFUSED
            if code == 0:
                self.serve()
            transaction.exit_code = code

    def _install(self, version: str, leave: str) -> tuple[int, str]:
        if fault := self.repository_fault or self._fleet.repository_fault:
            return 100, fault
        if version not in LISTED:
            return 100, f"E: Version '{version}' for '{PACKAGE}' was not found"
        if self._is_installed(version):
            return 0, f"{PACKAGE} is already the newest version ({version})."
        if self.version and Version(version) < Version(self.version) and leave != "rollback":
            return 100, "E: Packages were downgraded and -y was used without --allow-downgrades."
        self.damaged = []
        self.installs.append(version)
        self.version = version
        self.file += 1
        if version == SCRIPT_FAILS:
            self.status = "iF"
            return 100, (
                f"dpkg: error processing package {PACKAGE} (--configure):\n"
                f" installed {PACKAGE} package post-installation script subprocess returned "
                "error exit status 3"
            )
        self.status = "ii"
        return 0, f"Setting up {PACKAGE} ({version}) ..."

    def _is_installed(self, version: str) -> bool:
        return version == self.version and self.status == "ii" and not self.damaged

    def has(self, configuration: str) -> bool:
        """Whether the service has taken a configuration, or can take it."""
        taken = configuration == self.configuration and not self.edited
        return taken or configuration in self.staged

    def take(self, configuration: str) -> bool:
        """Have the service take a configuration; return whether its check accepts it."""
        if configuration == self.configuration and not self.edited:
            return True
        if configuration and self.refuses:
            return False
        self.configuration, self.edited, self.running = configuration, [], None
        self.staged.clear()
        return True

    def serve(self) -> None:
        """Start or restart the service, unless it already runs the installed file."""
        self.enabled = True
        if self.running is not None and self.running_file == self.file:
            return
        self.invocation = f"{next(self._invocations):032x}"
        self.running, self.running_file = self.version, self.file
        self.journal.append(f"lantern-box: version {self.version} starts")
        if self.version == CRASHES:
            self.journal += _PANIC

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
            "Result": "signal" if self.running and not up else "success",
            "ExecMainStatus": _SIGABRT if self.running and not up else 0,
            "ExecMainCode": 2 if self.running and not up else 0,
            "ExecMainStartTimestampMonotonic": 1,
            "ExecMainExitTimestampMonotonic": 0,
            **self.unit_faults,
        }

    def transaction_properties(self, unit: str) -> dict[str, Any]:
        transaction = self.transactions.get(unit)
        timed_out = transaction is not None and transaction.result == "timeout"
        match transaction:
            case None:
                load, active, sub, code = "not-found", "inactive", "dead", 0
            case _Transaction(exit_code=None):
                load, active, sub, code = "loaded", "active", "running", 0
            case _Transaction(exit_code=0):
                load, active, sub, code = "loaded", "active", "exited", 0
            case _Transaction(exit_code=int(code)):
                load, active, sub = "loaded", "failed", "failed"
        return {
            **self.unit_properties,
            "LoadState": load,
            "ActiveState": active,
            "SubState": sub,
            "InvocationID": uuid.uuid5(uuid.NAMESPACE_OID, unit).hex,
            "Result": "timeout" if timed_out else "success",
            "ExecMainStatus": code,
            "ExecMainCode": 2 if timed_out else 1,
            "ExecMainExitTimestampMonotonic": 2,
        }


def _scripts_in(user_data: str) -> str:
    return "\n".join(
        content(file) for file in yaml.load(user_data, yaml.CSafeLoader)["write_files"]
    )
