"""One observation of a host: its package, its service, and the transaction under way if any.

All parts are one answer of `relight-host`, read at the same moment. A version alone proves nothing:
dpkg prints one for removed and half-configured packages too. Parsers are pure, tested on captured
output. A host may print anything, so each part has a format or a limit: parts go to messages, to
heartbeats and to the store.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from relight.domain.text import head
from relight.hosts import host_program
from relight.hosts.conditions import parse_unmet
from relight.hosts.errors import (
    TAIL_LINES,
    HostNotReadyError,
    RemoteError,
    UnreadableAnswerError,
    on_host,
)
from relight.hosts.questions import Section, parse_sections
from relight.hosts.shell import Completed, Shell, command_failed

COMMAND_TIMEOUT = timedelta(seconds=30)
"""For commands that normally take well below a second."""

_SECTIONS = ("units", "package", "file", "boot", "verify")
_BEGIN, _CHILD, _CONTENT, _SETTINGS = "begin", "child", "content", "settings"
_TRANSACTION, _STALE, _CONFIGURATION = "transaction", "stale", "configuration"
_CONDITIONS, _SIBLINGS = "conditions", "siblings"
_OPTIONAL = (
    *(_BEGIN, _TRANSACTION, _CHILD, _CONTENT, _SETTINGS),
    *(_CONFIGURATION, _CONDITIONS, _SIBLINGS),
)
"""Sections that not every call prints, and no older program."""

_NAMED = re.compile(r"^ Id=", re.MULTILINE)

_VERIFIED = re.compile(r"(?:[?5.MT]{9}|missing) +(?:(?P<kind>[a-z]) )?(?P<path>/.*)")
_STATUS = re.compile(r"[uihrp?][ncHUFWti?][ Rr?]?")
_WORD = re.compile(r"[A-Za-z0-9_-]{0,64}")
_NUMBER = re.compile(r"[0-9]{1,19}")
_VERSION = re.compile(r"[A-Za-z0-9.+:~-]{0,256}")
_PACKAGE_NAME = re.compile(r"[a-z0-9][a-z0-9.+-]{0,255}")
_UNIT_NAME = re.compile(r"[A-Za-z0-9:_.\\@-]{0,256}")

_SHA256 = re.compile(r"[0-9a-f]{64}")

MAX_CHILD_BYTES = 300

MAX_PATH_BYTES = 4096
"""Linux's limit of a path."""

MAX_STALE = 20
"""How many reports of stale processes are read; a host sends no more."""

MAX_EDITED = 20
"""How many files of the configuration are named that were changed."""

MAX_UNITS = 256
"""How many units of a host are read."""

MAX_SIBLINGS = 256
"""How many further packages of the service are read."""


@dataclass(frozen=True)
class PackageState:
    """The state of a package in dpkg's database.

    Attributes:
        status: the abbreviated status, stripped, as in `ii`, `hi` (held), `iF` (half-configured)
            or `iHR`; `un` if dpkg does not know the package.
        version: empty if dpkg does not know the package.
        architecture: empty if dpkg does not know the package.
    """

    status: str
    version: str
    architecture: str

    @property
    def is_held(self) -> bool:
        """Whether an operator put the package on hold."""
        return self.status.startswith("h")

    def is_installed(self, version: str) -> bool:
        """Whether the package is fully installed at exactly this version, held or not."""
        return self.status in {"ii", "hi"} and self.version == version


ABSENT = PackageState(status="un", version="", architecture="")


@dataclass(frozen=True)
class Sibling:
    """A further package of the service.

    Attributes:
        version: the one that the last change left; empty if that is unknown.
        state: in dpkg's database now.
    """

    name: str
    version: str
    state: PackageState


@dataclass(frozen=True)
class UnitState:
    """The state of a systemd unit, from `systemctl show`.

    Attributes:
        name: its name, also of an instance of a template; empty if the host's program is older.
        load: `loaded`, `not-found`, `masked`, `bad-setting` or `error`.
        active: `active`, `activating`, `deactivating`, `inactive`, `failed` or `reloading`.
        sub: the finer state, as in `running`, `exited`, `auto-restart`.
        unit_file: `enabled`, `disabled`, `masked`, `transient`...; empty if there is no file.
        main_pid: 0 if no main process runs.
        invocation_id: systemd's id of the unit's last start; empty if it never started.
        restarts: how often systemd restarted the unit by itself since its last manual start.
        result: `success`, `exit-code`, `signal`, `timeout`, `start-limit-hit`...
        main_code: how the main process ended: 1 exited, 2 killed, 3 dumped core; 0 it did not end.
        main_status: its exit code, or the number of the signal.
        main_started_usec: its start, in microseconds of the host's monotonic clock.
        main_ended_usec: its end, likewise; 0 if it did not end.
        type: `simple`, `notify`, `forking`, `oneshot`...; empty for a socket.
        triggered_by: the sockets that start it.
    """

    name: str
    load: str
    active: str
    sub: str
    unit_file: str
    main_pid: int
    invocation_id: str
    restarts: int
    result: str
    main_code: int
    main_status: int
    main_started_usec: int
    main_ended_usec: int
    type: str = ""
    triggered_by: tuple[str, ...] = ()

    @property
    def is_masked(self) -> bool:
        """Whether the unit was masked on the host, so that it cannot start."""
        return self.load == "masked" or self.unit_file in {"masked", "masked-runtime"}

    @property
    def is_running(self) -> bool:
        """Whether systemd reports the unit as running at this moment.

        A oneshot that remains active has done its work; a socket is listening.
        """
        if self.active != "active":
            return False
        is_finished = self.type == "oneshot" and self.sub == "exited"
        return self.sub == "running" or is_finished or self.is_socket

    @property
    def is_resting(self) -> bool:
        """Whether the unit does not run, but can."""
        return self.active == "inactive" and self.load == "loaded" and not self.is_masked

    @property
    def is_socket(self) -> bool:
        """Whether it is a socket, which starts a service when a connection comes."""
        return self.name.endswith(".socket")

    @property
    def is_starting(self) -> bool:
        """Whether the unit is starting or reloading, but not restarting after its process ended."""
        return self.active in {"activating", "reloading"} and self.sub != "auto-restart"


NO_UNIT = UnitState(
    name="",
    load="not-found",
    active="inactive",
    sub="dead",
    unit_file="",
    main_pid=0,
    invocation_id="",
    restarts=0,
    result="success",
    main_code=0,
    main_status=0,
    main_started_usec=0,
    main_ended_usec=0,
)
"""A pattern that matches no unit is as one that systemd does not know."""


@dataclass(frozen=True)
class Observation:
    """The state of a host at one moment.

    Attributes:
        package: the service's package.
        units: the service's units.
        running_file: the file that the main process runs, as the kernel names it.
        is_installed_file: whether every process runs what is now installed.
        stale: why not, a line for each process, as in `lantern-box.service has process 7, which
            runs the old /usr/bin/lantern-box (deleted)`.
        damaged: the package's files that were changed or are missing.
        boot_id: the kernel's id of this boot.
        transaction: the transient unit of a transaction; None if the question named none.
        begin: the answer of systemd-run to the start of a transaction; None if none was started.
        child: the command line that a running transaction waits for; empty if that is unknown.
        sha256: of the .deb that was installed, as recorded then; empty if that is unknown.
        settings_sha256: the digest of the host's settings; empty if that is unknown.
        configuration: the digest of the configuration that the service has taken; empty if it has
            none.
        edited: what was changed of its files since, as in `/etc/default/lantern-box is missing`.
        unmet: the conditions that kept units from starting, as in `ConditionPathExists=/etc/x`,
            each with its unit.
        siblings: the further packages of the service, as far as the host knows them.
    """

    package: PackageState
    units: tuple[UnitState, ...]
    running_file: str
    is_installed_file: bool
    damaged: tuple[str, ...]
    boot_id: str
    transaction: UnitState | None = None
    begin: Section | None = None
    child: str = ""
    sha256: str = ""
    settings_sha256: str = ""
    stale: tuple[str, ...] = ()
    configuration: str = ""
    edited: tuple[str, ...] = ()
    unmet: tuple[tuple[str, str], ...] = ()
    siblings: tuple[Sibling, ...] = ()

    @property
    def unit(self) -> UnitState:
        """The first of the service's units, as of the instances of its template."""
        services = (unit for unit in self.units if not unit.is_socket)
        return next(services, self.units[0] if self.units else NO_UNIT)

    def state_of(self, name: str) -> UnitState | None:
        """Return the state of the unit with this name, None without one."""
        return next((unit for unit in self.units if unit.name == name), None)


async def observe(shell: Shell, argv: list[str], wait: timedelta = timedelta()) -> Observation:
    """Observe a host.

    Args:
        shell: on the host.
        argv: the call, from `host_program.observe` or `host_program.swap`.
        wait: how long that call waits on the host before it answers.

    Raises:
        HostNotReadyError: systemd does not answer, as while the host shuts down.
        RemoteError: the host did not answer, or its answer cannot be read.
    """
    completed = await shell.run(argv, timeout=COMMAND_TIMEOUT + wait, check=False, sudo=True)
    if completed.exit_code != 0:
        raise _observation_failed(completed, shell)
    with on_host(shell.destination):
        return parse(completed.stdout)


async def journal(shell: Shell) -> tuple[str, ...]:
    """Return the last lines of the service's journal, oldest first."""
    argv = host_program.journal(TAIL_LINES)
    completed = await shell.run(argv, timeout=COMMAND_TIMEOUT, sudo=True)
    return tuple(completed.stdout.splitlines())


def parse(text: str) -> Observation:
    """Parse an observation as `relight-host` prints it.

    Raises:
        UnreadableAnswerError: a section is missing or malformed.
    """
    # Until its next change a host has the program of before. An older one does not name its units,
    # of which the service's is the first, and looks at the main process only.
    is_named = _NAMED.search(text) is not None
    required = (*_SECTIONS, _STALE) if is_named else _SECTIONS
    answers = parse_sections(text, required, optional=_OPTIONAL)
    package, running = answers["package"], answers["file"]
    shown = parse_units(answers["units"].text)
    if is_named:
        named = answers[_TRANSACTION].text if _TRANSACTION in answers else None
        units = [unit for unit in shown if unit.name != named]
        transactions = [unit for unit in shown if unit.name == named]
    else:
        units, transactions = shown[:1], shown[1:]
    stale = answers[_STALE].text.split("\n") if is_named else []
    boot_id = answers["boot"].text
    if not _WORD.fullmatch(boot_id):
        raise UnreadableAnswerError(
            "the boot id is malformed", attempted="read a host's state", stderr=boot_id
        )
    state = parse_query(package.text if package.exit_code == 0 else "")
    version, _, sha256 = _text(answers, _CONTENT).partition(" ")
    configuration, *edited = _text(answers, _CONFIGURATION).split("\n")
    return Observation(
        package=state,
        units=tuple(units),
        running_file=head(running.text.partition("\n")[0], MAX_PATH_BYTES),
        is_installed_file=running.exit_code == 0,
        damaged=parse_verify(answers["verify"].text),
        boot_id=boot_id,
        transaction=transactions[0] if transactions else None,
        begin=answers.get(_BEGIN),
        child=head(_text(answers, _CHILD).partition("\n")[0].strip(), MAX_CHILD_BYTES),
        sha256=_digest(sha256) if version == state.version else "",
        settings_sha256=_digest(_text(answers, _SETTINGS)),
        stale=tuple(head(line, MAX_PATH_BYTES) for line in stale if line)[:MAX_STALE],
        configuration=_digest(configuration),
        edited=tuple(head(line, MAX_PATH_BYTES) for line in edited if line)[:MAX_EDITED],
        unmet=parse_unmet(_text(answers, _CONDITIONS)),
        siblings=parse_siblings(_text(answers, _SIBLINGS)),
    )


def _text(answers: Mapping[str, Section], name: str) -> str:
    return answers[name].text if name in answers else ""


def _digest(text: str) -> str:
    return text if _SHA256.fullmatch(text) else ""


def parse_query(text: str) -> PackageState:
    """Parse one line of `dpkg-query`: status, version and architecture, separated by tabs.

    Empty text means that dpkg does not know the package.

    Raises:
        UnreadableAnswerError: it is not one line of three fields.
    """
    lines = text.splitlines()
    if not lines:
        return ABSENT
    fields = lines[0].split("\t")
    well_formed = (
        len(lines) == 1
        and len(fields) == 3
        and _STATUS.fullmatch(fields[0])
        and _VERSION.fullmatch(fields[1])
        and _WORD.fullmatch(fields[2])
    )
    if not well_formed:
        raise UnreadableAnswerError(
            f"unexpected output of dpkg-query: {lines[0]!r}",
            attempted="read a package's state",
            stderr=text,
        )
    return PackageState(status=fields[0].strip(), version=fields[1], architecture=fields[2])


def parse_siblings(text: str) -> tuple[Sibling, ...]:
    """Parse a line for each further package: name, version of the last change, and state.

    Raises:
        UnreadableAnswerError: a line is malformed, or there are too many.
    """
    lines = text.splitlines()
    if len(lines) > MAX_SIBLINGS:
        raise UnreadableAnswerError(
            f"there are more than {MAX_SIBLINGS} packages", attempted="read the service's packages"
        )
    return tuple(map(_sibling, lines))


def _sibling(line: str) -> Sibling:
    name, _, rest = line.partition("\t")
    version, _, state = rest.partition("\t")
    if not (_PACKAGE_NAME.fullmatch(name) and _VERSION.fullmatch(version)):
        raise UnreadableAnswerError(
            f"not a package and its version: {head(line, 64)!r}",
            attempted="read the service's packages",
            stderr=line,
        )
    return Sibling(name, version, parse_query(state))


def parse_verify(text: str) -> tuple[str, ...]:
    """Parse the output of `dpkg --verify`; return the files that are missing or changed.

    A line is `??5?????? /usr/bin/lantern-box`, or `missing     /usr/bin/lantern-box`. A
    configuration file has a `c` between the two; an edited one is not damage.
    """
    damaged = []
    for line in text.splitlines():
        found = _VERIFIED.fullmatch(line)
        if found is not None and found["kind"] != "c":
            damaged.append(found["path"])
    return tuple(damaged)


def parse_units(text: str) -> list[UnitState]:
    """Parse the output of `systemctl show`, in the order of the output; empty text has no unit.

    Raises:
        UnreadableAnswerError: a property is missing, or is not a number, or there are too many.
    """
    blocks = text.split("\n\n") if text else []
    if len(blocks) > MAX_UNITS:
        raise UnreadableAnswerError(
            f"there are more than {MAX_UNITS} units", attempted="read a unit's state"
        )
    return [_unit_state(block) for block in blocks]


def _unit_state(block: str) -> UnitState:
    found = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
    try:
        return UnitState(
            name=_unit_name(found.get("Id", "")),
            load=_word(found, "LoadState"),
            active=_word(found, "ActiveState"),
            sub=_word(found, "SubState"),
            unit_file=_word(found, "UnitFileState", ""),
            main_pid=_number(found, "MainPID"),
            invocation_id=_word(found, "InvocationID", ""),
            restarts=_number(found, "NRestarts"),
            result=_word(found, "Result"),
            main_code=_number(found, "ExecMainCode"),
            main_status=_number(found, "ExecMainStatus"),
            main_started_usec=_number(found, "ExecMainStartTimestampMonotonic"),
            main_ended_usec=_number(found, "ExecMainExitTimestampMonotonic"),
            type=_word(found, "Type", ""),
            triggered_by=tuple(map(_unit_name, found.get("TriggeredBy", "").split())),
        )
    except (KeyError, ValueError) as error:
        raise UnreadableAnswerError(
            f"a property of systemctl show is missing or malformed: {error}",
            attempted="read a unit's state",
            stderr=block,
        ) from error


def _number(found: Mapping[str, str], name: str) -> int:
    # A unit that is not loaded lacks the property; newer systemd versions print `[not set]`.
    value = found.get(name, "")
    if value in {"", "[not set]"}:
        return 0
    if not _NUMBER.fullmatch(value):
        raise ValueError(f"{name}={head(value, 64)}")
    return int(value)


def _unit_name(value: str) -> str:
    if not _UNIT_NAME.fullmatch(value):
        raise ValueError(f"a unit's name is {head(value, 64)}")
    return value


def _word(found: Mapping[str, str], name: str, default: str | None = None) -> str:
    value = found[name] if default is None else found.get(name, default)
    if not _WORD.fullmatch(value):
        raise ValueError(f"{name}={head(value, 64)}")
    return value


def _observation_failed(completed: Completed, shell: Shell) -> RemoteError:
    failed = command_failed(completed, shell.destination, "observe the host")
    if completed.exit_code == host_program.NO_ANSWER_EXIT_CODE:
        return HostNotReadyError(
            f"systemd does not answer: {failed.text}",
            destination=shell.destination,
            attempted=failed.attempted,
            argv=failed.argv,
            exit_code=failed.exit_code,
            stderr=failed.stderr,
        )
    return failed
