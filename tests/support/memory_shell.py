"""A shell on a host in memory, which knows systemd units and keeps account of what it ran."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from remote.destination import Destination
from remote.errors import ConnectionLostError
from remote.sections import Section
from remote.shell import Completed, command_failed

HOST = Destination(address="198.18.0.2", port=22, user="relight", machine_key="de-1-g1")

_SHOWN = """\
MainPID={main_pid}
NRestarts={restarts}
Result={result}
ExecMainStartTimestampMonotonic={started}
ExecMainExitTimestampMonotonic={ended}
ExecMainCode={code}
ExecMainStatus={status}
LoadState={load}
ActiveState={active}
SubState={sub}
UnitFileState={unit_file}
InvocationID={invocation}
"""


@dataclass
class Unit:
    """A unit as systemd shows it; its defaults are those of one that systemd does not know."""

    load: str = "not-found"
    active: str = "inactive"
    sub: str = "dead"
    unit_file: str = ""
    main_pid: int = 0
    invocation: str = ""
    restarts: int = 0
    result: str = "success"
    code: int = 0
    status: int = 0
    started: int = 0
    ended: int = 0

    def shown(self) -> str:
        return _SHOWN.format_map(vars(self))


def running() -> Unit:
    return Unit(
        "loaded", "active", "running", "enabled", main_pid=7, invocation="abc", started=1_000_000
    )


def succeeded() -> Unit:
    return Unit(
        "loaded",
        "active",
        "exited",
        "transient",
        invocation="abc",
        code=1,
        started=1_000_000,
        ended=4_500_000,
    )


def failed(status: int = 100, code: int = 1) -> Unit:
    return Unit(
        "loaded",
        "failed",
        "failed",
        "transient",
        invocation="abc",
        result="exit-code",
        code=code,
        status=status,
        started=1_000_000,
        ended=4_500_000,
    )


@dataclass
class MemoryHost:
    """A host with one unit.

    Attributes:
        unit: how it stands now.
        journal: what the unit wrote.
        answers: by the beginning of a command, what happens in place of what would: its exit
            code, and what it writes to either output.
        deeds: by the beginning of a command, how it changes the host.
        looks: what becomes of the unit at each look, the next one first.
        lose: the beginnings of commands whose reply is lost, once each.
        ran: each command, without `sudo`.
        as_root: those that ran with it.
    """

    unit: Unit = field(default_factory=Unit)
    journal: list[str] = field(default_factory=list)
    answers: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    deeds: dict[str, Callable[["MemoryHost"], None]] = field(default_factory=dict)
    looks: list[Unit] = field(default_factory=list)
    lose: list[str] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)
    as_root: set[str] = field(default_factory=set)

    @property
    def destination(self) -> Destination:
        return HOST

    def count(self, beginning: str) -> int:
        return sum(command.startswith(beginning) for command in self.ran)

    async def run(
        self,
        argv: Sequence[str],
        *,
        stdin: str | bytes | None = None,
        timeout: timedelta,
        check: bool = True,
        sudo: bool = False,
    ) -> Completed:
        command = " ".join(argv)
        self.ran.append(command)
        if sudo:
            self.as_root.add(command)
        code, stdout, stderr = self._do(command)
        for beginning in self.lose:
            if command.startswith(beginning):
                self.lose.remove(beginning)
                raise ConnectionLostError("cut", destination=HOST, argv=argv)
        completed = Completed(tuple(argv), code, stdout, stderr)
        if check and code != 0:
            raise command_failed(completed, HOST, f"run {argv[0]}")
        return completed

    async def ask(
        self, questions: Mapping[str, Sequence[str]], *, timeout: timedelta, sudo: bool = False
    ) -> dict[str, Section]:
        answers = {
            name: await self.run(argv, timeout=timeout, check=False, sudo=sudo)
            for name, argv in questions.items()
        }
        return {
            name: Section((answer.stdout + answer.stderr).strip("\n"), answer.exit_code)
            for name, answer in answers.items()
        }

    def _do(self, command: str) -> tuple[int, str, str]:
        for beginning, deed in self.deeds.items():
            if command.startswith(beginning):
                deed(self)
        for beginning, answer in self.answers.items():
            if command.startswith(beginning):
                return answer
        if command.startswith("systemctl show"):
            self.unit = self.looks.pop(0) if self.looks else self.unit
            return 0, self.unit.shown(), ""
        if command.startswith("journalctl --no-pager"):
            return 0, "".join(f"{line}\n" for line in self.journal), ""
        if command.startswith(("systemctl stop", "systemctl reset-failed")):
            return self._forget()
        return 0, "", ""

    def _forget(self) -> tuple[int, str, str]:
        if self.unit.load == "not-found":
            return 5, "", "Failed to stop: Unit not loaded.\n"
        if self.unit.unit_file == "transient":
            self.unit = Unit()
        return 0, "", ""
