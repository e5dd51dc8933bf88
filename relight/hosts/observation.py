"""How a host stands, at one moment: its package, its service, and the change under way if any.

All of it is one answer of `relight-host`, taken together, so that its parts belong together.
"""

from dataclasses import dataclass
from datetime import timedelta

from relight.hosts import commands, dpkg, host_program
from relight.hosts.dpkg import PackageState
from relight.hosts.errors import TAIL_LINES, HostNotReadyError, RemoteError
from relight.hosts.shell import (
    Completed,
    Shell,
    command_failed,
)
from relight.hosts.systemd import UnitState, parse_shown

COMMAND_TIMEOUT = timedelta(seconds=30)
"""For what takes well below a second; a machine that is slower than this has another trouble."""

_SECTIONS = ("units", "package", "file", "boot", "verify")
_BEGIN = "begin"


@dataclass(frozen=True)
class Observation:
    """How a host was seen to stand.

    Attributes:
        package: the daemon's package.
        unit: the daemon's unit.
        running_file: the file that the unit's main process runs, as the kernel names it.
        is_installed_file: whether that is the very file that is on disk now.
        damaged: the package's files that are not as it brought them.
        boot_id: the kernel's id of this boot.
        change: the transient unit of a change; None where none was asked about.
        begun: how systemd answered to the change's beginning; None where none was begun.
    """

    package: PackageState
    unit: UnitState
    running_file: str
    is_installed_file: bool
    damaged: tuple[str, ...]
    boot_id: str
    change: UnitState | None = None
    begun: commands.Section | None = None

    @property
    def is_starting(self) -> bool:
        """Whether the unit is on its way up, and not because it ended by itself."""
        return self.unit.active in {"activating", "reloading"} and self.unit.sub != "auto-restart"


async def look(shell: Shell, argv: list[str], patience: timedelta = timedelta()) -> Observation:
    """Ask a host how it stands.

    Args:
        shell: on the host.
        argv: a call of `relight-host` that tells, from `host_program.see` or `host_program.swap`.
        patience: how long that call waits before it tells.

    Raises:
        HostNotReadyError: systemd does not answer, as while the host goes down.
        RemoteError: the host did not answer, or not to that.
    """
    told = await shell.run(argv, timeout=COMMAND_TIMEOUT + patience, check=False, sudo=True)
    if told.exit_code != 0:
        raise _untold(told, shell)
    return parse(told.stdout)


def parse(text: str) -> Observation:
    """Read what `relight-host` tells.

    Raises:
        UnreadableAnswerError: a part is missing, or is not what it should be.
    """
    answers = commands.parse(text, _SECTIONS, optional=[_BEGIN])
    package, running = answers["package"], answers["file"]
    unit, *change = parse_shown(answers["units"].text)
    return Observation(
        package=dpkg.parse_query(package.text if package.exit_code == 0 else ""),
        unit=unit,
        running_file=running.text.partition("\n")[0],
        is_installed_file=running.exit_code == 0,
        damaged=dpkg.parse_verify(answers["verify"].text),
        boot_id=answers["boot"].text,
        change=change[0] if change else None,
        begun=answers.get(_BEGIN),
    )


def _untold(told: Completed, shell: Shell) -> RemoteError:
    failed = command_failed(told, shell.destination, "look at the host")
    if told.exit_code == host_program.NO_ANSWER_EXIT_CODE:
        return HostNotReadyError(
            f"systemd does not answer: {failed.text}",
            destination=shell.destination,
            attempted=failed.attempted,
            argv=failed.argv,
            exit_code=failed.exit_code,
            stderr=failed.stderr,
        )
    return failed


async def journal(shell: Shell) -> tuple[str, ...]:
    """Return the daemon's last lines, the oldest first."""
    told = await shell.run(host_program.journal(TAIL_LINES), timeout=COMMAND_TIMEOUT, sudo=True)
    return tuple(told.stdout.splitlines())


# MERGEDOC """What the daemon's service has to say."""
