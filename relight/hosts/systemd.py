"""What systemd says of units. Nothing here does I/O."""

from collections.abc import Mapping
from dataclasses import dataclass

from relight.hosts.errors import UnreadableAnswerError


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


def parse_shown(text: str) -> list[UnitState]:
    """Read an answer of `systemctl show` for one unit or several, in the order in which it came.

    Raises:
        UnreadableAnswerError: a property is missing or is no number.
    """
    return [_unit_state(block) for block in text.split("\n\n")]


def _unit_state(block: str) -> UnitState:
    found = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
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
            stderr=block,
        ) from error


def _number(found: Mapping[str, str], name: str) -> int:
    # A unit that is not loaded has no such property; a newer systemd says `[not set]`.
    value = found.get(name, "")
    return 0 if value in {"", "[not set]"} else int(value)
