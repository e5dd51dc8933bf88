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
from relight.hosts.packages import PackageState, Sibling, parse_query, parse_siblings, parse_verify
from relight.hosts.questions import Section, parse_sections
from relight.hosts.shell import Completed, Shell, command_failed
from relight.hosts.units import NO_UNIT, WORD, UnitState, parse_units

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


_SHA256 = re.compile(r"[0-9a-f]{64}")

MAX_CHILD_BYTES = 300

MAX_PATH_BYTES = 4096
"""Linux's limit of a path."""

MAX_STALE = 20
"""How many reports of stale processes are read; a host sends no more."""

MAX_EDITED = 20
"""How many files of the configuration are named that were changed."""


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
    if not WORD.fullmatch(boot_id):
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
