"""The state of systemd's units on a host, from `systemctl show`. Parsers are pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from relight.domain.text import head
from relight.hosts.errors import UnreadableAnswerError

WORD = re.compile(r"[A-Za-z0-9_-]{0,64}")
"""A word of systemd or dpkg."""

_NUMBER = re.compile(r"[0-9]{1,19}")
_UNIT_NAME = re.compile(r"[A-Za-z0-9:_.\\@-]{0,256}")

MAX_UNITS = 256
"""How many units of a host are read."""


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
    if not WORD.fullmatch(value):
        raise ValueError(f"{name}={head(value, 64)}")
    return value
