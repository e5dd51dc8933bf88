"""Whoever uses a machine leaves it: a program of the operator's own sees to that."""

from dataclasses import dataclass
from datetime import timedelta

from activities import policies
from activities.rollout.checks import beating
from relight.domain.replacement import DrainMachineInput, MachineDrained
from relight.engine.step import step
from relight.hosts.local_program import run_program


@dataclass(frozen=True)
class Drain:
    """What drains a machine.

    Attributes:
        command: the program and its arguments; no shell reads them. Without any, nobody is asked.
        deadline: how long it may take; then it is killed, with all that it started.
    """

    command: tuple[str, ...] = ()
    deadline: timedelta = timedelta(minutes=5)


class DrainActivities:
    """Asks a program that runs beside the worker."""

    def __init__(self, drain: Drain) -> None:
        self._drain = drain

    @step(policies.DRAIN, lambda i: i.machine.key)
    async def drain_machine(self, input: DrainMachineInput) -> MachineDrained:
        """Say whether the machine is drained, at the deadline at the latest.

        Nothing keeps a replacement up: what cannot be drained is destroyed as well.
        """
        if not self._drain.command:
            return MachineDrained(drained=None, seen="no RELIGHT_DRAIN__COMMAND is set")
        told = {
            "RELIGHT_DRAIN_ROUTE": input.route_id,
            "RELIGHT_DRAIN_MACHINE": input.machine.key,
            "RELIGHT_DRAIN_ADDRESS": input.machine.address or "",
        }
        try:
            async with beating():
                ended = await run_program(self._drain.command, told, self._drain.deadline)
        except OSError as error:
            why = f"{self._drain.command[0]} cannot be run: {error.strerror or error}"
            return MachineDrained(drained=False, seen=why)
        return MachineDrained(drained=ended.code == 0, seen=ended.text)
