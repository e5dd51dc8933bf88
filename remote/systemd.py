"""systemctl and journalctl: what to run, and what their answers mean. Nothing here does I/O."""

from collections.abc import Mapping
from dataclasses import dataclass

from remote.errors import UnreadableAnswerError

_PROPERTIES = (
    "LoadState",
    "ActiveState",
    "SubState",
    "UnitFileState",
    "MainPID",
    "InvocationID",
    "NRestarts",
    "Result",
    "ExecMainStatus",
    "ExecMainCode",
    "ExecMainStartTimestampMonotonic",
    "ExecMainExitTimestampMonotonic",
)


@dataclass(frozen=True)
class UnitState:
    """What systemd says of a unit.

    Attributes:
        load: `loaded`, `not-found`, `masked`, `bad-setting` or `error`.
        active: `active`, `activating`, `deactivating`, `inactive`, `failed` or `reloading`.
        sub: the finer state, as in `running`, `exited`, `auto-restart`.
        unit_file: `enabled`, `disabled`, `masked`, `transient`...; empty where there is no file.
        main_pid: 0 where no main process runs.
        invocation_id: systemd's id of the unit's last start; empty where it never started.
        restarts: how often systemd restarted it by itself since it was last started.
        result: `success`, `exit-code`, `signal`, `timeout`, `start-limit-hit`...
        main_code: how the main process ended: 1 exited, 2 killed, 3 dumped core; 0 it did not.
        main_status: its exit code, or the number of the signal.
        main_started_usec: when it started, in microseconds of the host's monotonic clock.
        main_ended_usec: when it ended, likewise; 0 where it did not.
    """

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

    @property
    def is_masked(self) -> bool:
        """Whether somebody on the host forbade the unit to run."""
        return self.load == "masked" or self.unit_file in {"masked", "masked-runtime"}

    @property
    def is_running(self) -> bool:
        """Whether it runs by systemd's word, at this moment."""
        return self.active == "active" and self.sub == "running"


def show(unit: str) -> list[str]:
    """Ask for what `parse_show` reads."""
    return ["systemctl", "show", f"--property={','.join(_PROPERTIES)}", "--", unit]


def parse_show(text: str) -> UnitState:
    """Read the answer to `show`.

    Raises:
        UnreadableAnswerError: a property is missing or is no number.
    """
    found = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    try:
        return UnitState(
            load=found["LoadState"],
            active=found["ActiveState"],
            sub=found["SubState"],
            unit_file=found.get("UnitFileState", ""),
            main_pid=_number(found, "MainPID"),
            invocation_id=found.get("InvocationID", ""),
            restarts=_number(found, "NRestarts"),
            result=found["Result"],
            main_code=_number(found, "ExecMainCode"),
            main_status=_number(found, "ExecMainStatus"),
            main_started_usec=_number(found, "ExecMainStartTimestampMonotonic"),
            main_ended_usec=_number(found, "ExecMainExitTimestampMonotonic"),
        )
    except (KeyError, ValueError) as error:
        raise UnreadableAnswerError(
            f"systemctl show left out or garbled {error}",
            attempted="read a unit's state",
            stderr=text,
        ) from error


def _number(found: Mapping[str, str], name: str) -> int:
    # A unit that is not loaded has no such property; a newer systemd says `[not set]`.
    value = found.get(name, "")
    return 0 if value in {"", "[not set]"} else int(value)


def boot_id() -> list[str]:
    """Ask for the kernel's id of this boot, one line."""
    return ["cat", "/proc/sys/kernel/random/boot_id"]


def sync_journal() -> list[str]:
    """Make journald write down all that it was told: a unit's last line may be still on its way."""
    return ["journalctl", "--sync"]


def unit_journal(unit: str, lines: int) -> list[str]:
    """Ask for a unit's last lines, of all its starts, with systemd's own remarks on it."""
    return [*_journal(lines), f"--unit={unit}"]


def invocation_output(invocation_id: str, lines: int) -> list[str]:
    """Ask for the last lines that one start of a unit wrote itself."""
    return [*_journal(lines), "--output=cat", f"_SYSTEMD_INVOCATION_ID={invocation_id}"]


def _journal(lines: int) -> list[str]:
    return ["journalctl", "--no-pager", "--quiet", f"--lines={lines}"]


def daemon_reload() -> list[str]:
    """Have systemd read the unit files again: dpkg does not tell it."""
    return ["systemctl", "daemon-reload"]


def restart(unit: str) -> list[str]:
    """Start a unit anew, and wait for its start to be over."""
    return ["systemctl", "restart", "--", unit]


def enable(unit: str) -> list[str]:
    """Have a unit started at every boot."""
    return ["systemctl", "--quiet", "enable", "--", unit]


def enable_now(unit: str) -> list[str]:
    """Have a unit started at every boot, and now."""
    return ["systemctl", "--quiet", "enable", "--now", "--", unit]


def stop(unit: str) -> list[str]:
    """Stop a unit."""
    return ["systemctl", "stop", "--", unit]


def reset_failed(unit: str) -> list[str]:
    """Let systemd forget that a unit failed."""
    return ["systemctl", "reset-failed", "--", unit]
