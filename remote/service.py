"""The daemon's service: started anew so that it runs what is installed."""

from datetime import timedelta

from remote import systemd
from remote.errors import TAIL_LINES, ServiceFailedError
from remote.shell import Completed, Shell
from remote.systemd import UnitState

COMMAND_TIMEOUT = timedelta(seconds=30)

START_TIMEOUT = timedelta(seconds=120)
"""systemd's own limit on a start is 90 s; its word comes before ours."""


async def state(shell: Shell, unit: str) -> UnitState:
    """Return what systemd says of the unit."""
    answer = await shell.run(systemd.show(unit), timeout=COMMAND_TIMEOUT)
    return systemd.parse_show(answer.stdout)


async def journal(shell: Shell, unit: str, lines: int = TAIL_LINES) -> tuple[str, ...]:
    """Return the unit's last lines, the oldest first."""
    await shell.run(systemd.sync_journal(), timeout=COMMAND_TIMEOUT, sudo=True)
    answer = await shell.run(systemd.unit_journal(unit, lines), timeout=COMMAND_TIMEOUT, sudo=True)
    return tuple(answer.stdout.splitlines())


async def restart(shell: Shell, unit: str) -> UnitState:
    """Have systemd read its unit files, start the unit anew, and at every boot from now on.

    A package without maintainer scripts changes files and nothing else: the old process runs on,
    from the old unit file, until this.

    Raises:
        ServiceFailedError: the unit is masked, missing, or did not start; with its journal.
        RemoteError: the host did not answer.
    """
    await shell.run(systemd.daemon_reload(), timeout=COMMAND_TIMEOUT, sudo=True)
    before = await state(shell, unit)
    if before.is_masked or before.load == "not-found":
        raise await _failed(shell, unit, before, None)
    if before.unit_file == "disabled":
        await shell.run(systemd.enable(unit), timeout=COMMAND_TIMEOUT, sudo=True)
    # One that ended too often would be refused its start, whatever is installed by now.
    await shell.run(systemd.reset_failed(unit), timeout=COMMAND_TIMEOUT, check=False, sudo=True)
    ended = await shell.run(systemd.restart(unit), timeout=START_TIMEOUT, check=False, sudo=True)
    after = await state(shell, unit)
    if ended.exit_code != 0:
        raise await _failed(shell, unit, after, ended)
    return after


async def _failed(
    shell: Shell, unit: str, now: UnitState, ended: Completed | None
) -> ServiceFailedError:
    if now.is_masked:
        kind, text = "unit-masked", f"{unit} is masked: somebody on the host forbade it to run"
    elif now.load == "not-found":
        kind, text = "unit-not-found", f"there is no unit {unit}"
    else:
        kind, text = "unit-failed", f"{unit} did not start: {now.active} ({now.result})"
    return ServiceFailedError(
        kind,
        text,
        destination=shell.destination,
        attempted=f"restart {unit}",
        argv=ended.argv if ended else (),
        exit_code=ended.exit_code if ended else None,
        stderr=ended.stderr if ended else "",
        journal=await journal(shell, unit),
    )
