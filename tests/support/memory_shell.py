"""A shell on a host in memory: it answers for `relight-host` and records every command."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from relight.hosts import host_program
from relight.hosts.errors import ConnectionLostError, Destination
from relight.hosts.questions import Section
from relight.hosts.shell import Completed, command_failed, raise_if_not_run

HOST = Destination(address="198.18.0.2", port=22, user="relight", machine_key="de-1-g1")

_SHOWN = """\
Id={name}
Type={type}
ControlGroup={cgroup}
TriggeredBy={triggered_by}
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
    """A unit as `systemctl show` prints it; the defaults are those of an unknown unit."""

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
    name: str = "lantern-box.service"
    type: str = "simple"
    triggered_by: str = ""

    @property
    def cgroup(self) -> str:
        return f"/system.slice/{self.name}"

    def shown(self) -> str:
        return _SHOWN.format_map({**vars(self), "cgroup": self.cgroup})


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
    """A host with the service's package and unit, and at most one transaction.

    Attributes:
        unit: the present state of the service's unit.
        change: the present state of the transaction's transient unit.
        package: dpkg's answer about the package; empty if dpkg does not know it.
        file: whether all processes run the installed release, as an exit code; the main one's file.
        stale: a line for each process that does not.
        boot_id: the kernel's id of this boot.
        verify: the output of `dpkg --verify`.
        journal: the service's log lines.
        output: the transaction's log lines.
        coming: the states of the transaction at the next observations, in their order.
        answers: by the start of a command, its exit code and both outputs instead of the real ones.
        effects: by the start of a command, how it changes the host.
        lose: the starts of commands whose reply is lost, once each.
        start_refusal: the error of systemd-run instead of starting a transaction.
        ran: each command, without `sudo`, and `relight-host` without its folder.
        as_root: those that ran with `sudo`.
    """

    unit: Unit = field(default_factory=running)
    change: Unit = field(default_factory=Unit)
    package: str = "ii \t0.0.74\tamd64"
    file: tuple[int, str] = (0, "/usr/bin/lantern-box")
    stale: str = ""
    boot_id: str = "b-1"
    verify: str = ""
    journal: list[str] = field(default_factory=list)
    output: list[str] = field(default_factory=list)
    coming: list[Unit] = field(default_factory=list)
    answers: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    effects: dict[str, Callable[["MemoryHost"], None]] = field(default_factory=dict)
    lose: list[str] = field(default_factory=list)
    start_refusal: str = ""
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
        words = (
            [host_program.PROGRAM.name, *argv[1:]]
            if argv[0] == str(host_program.PROGRAM)
            else [*argv]
        )
        command = " ".join(words)
        self.ran.append(command)
        if sudo:
            self.as_root.add(command)
        code, stdout, stderr = self._do(command, words)
        for beginning in self.lose:
            if command.startswith(beginning):
                self.lose.remove(beginning)
                raise ConnectionLostError("cut", destination=HOST, argv=argv)
        completed = Completed(tuple(argv), code, stdout, stderr)
        if sudo and code != 0:
            raise_if_not_run(completed, HOST, f"run {argv[0]}")
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

    def _do(self, command: str, words: list[str]) -> tuple[int, str, str]:
        for beginning, effect in self.effects.items():
            if command.startswith(beginning):
                effect(self)
        for beginning, answer in self.answers.items():
            if command.startswith(beginning):
                return answer
        return 0, self._answer(words[1:]) if words[0] == host_program.PROGRAM.name else "", ""

    def _answer(self, words: list[str]) -> str:
        match words:
            case ["swap", unit, *_]:
                return self._started(unit) + self._observed(unit)
            case ["observe", *rest]:
                return self._observed(rest[0] if rest else None)
            case ["journal", _]:
                return "".join(f"{line}\n" for line in self.journal)
            case ["log", _]:
                return "".join(f"{line}\n" for line in self.output)
            case ["forget", _]:
                self.change = Unit()
        return ""

    def _started(self, unit: str) -> str:
        refusal = self.start_refusal
        if self.change.load != "not-found":
            refusal = f"Unit {unit} was already loaded or has a fragment file."
        if refusal:
            return _section("begin", 1, f"Failed to start transient service unit: {refusal}")
        return _section("begin", 0, "")

    def _observed(self, transaction: str | None = None) -> str:
        units, named = self.unit.shown(), ""
        if transaction:
            self.change = self.coming.pop(0) if self.coming else self.change
            self.change.name = transaction
            units += f"\n{self.change.shown()}"
            named = _section("transaction", 0, transaction)
        return "".join(
            (
                _section("units", 0, units),
                named,
                _section("package", 0 if self.package else 1, self.package or "no packages found"),
                _section("file", *self.file),
                _section("stale", 0, self.stale),
                _section("boot", 0, self.boot_id),
                _section("verify", 1 if self.verify else 0, self.verify),
            )
        )


def _section(name: str, code: int, text: str) -> str:
    """Return a section of an answer of `relight-host`."""
    lines = text.rstrip("\n").split("\n")
    return "".join(f" {line}\n" for line in lines) + f"{name} {code}\n"
