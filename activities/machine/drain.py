"""Draining: the operator's own program moves the users off a machine."""

from dataclasses import dataclass
from datetime import timedelta

from activities import policies
from relight.domain.error_words import error_words
from relight.domain.replacement import DrainMachineInput, MachineDrained
from relight.engine.step import step
from relight.hosts.local_program import run_program


@dataclass(frozen=True)
class Drain:
    """The configuration of draining.

    Attributes:
        command: the program and its arguments, run without a shell. Empty means no draining.
        deadline: its time limit; then it is killed, with all the processes that it started.
    """

    command: tuple[str, ...] = ()
    deadline: timedelta = timedelta(minutes=5)


class DrainActivities:
    """Runs the drain command on the worker's host."""

    def __init__(self, drain: Drain) -> None:
        self._drain = drain

    @step(policies.DRAIN, lambda i: i.machine.key, lasting=True)
    async def drain_machine(self, input: DrainMachineInput) -> MachineDrained:
        """Return whether the machine was drained, at the deadline at the latest.

        A failure does not stop a replacement: a machine that cannot be drained is destroyed too.
        """
        if not self._drain.command:
            return MachineDrained(drained=None, detail="RELIGHT_DRAIN__COMMAND is not set")
        variables = {
            "RELIGHT_DRAIN_ROUTE": input.route_id,
            "RELIGHT_DRAIN_MACHINE": input.machine.key,
            "RELIGHT_DRAIN_ADDRESS": input.machine.address or "",
        }
        try:
            ended = await run_program(self._drain.command, variables, self._drain.deadline)
        except OSError as error:
            reason = f"{self._drain.command[0]} cannot be run: {error_words(error)}"
            return MachineDrained(drained=False, detail=reason)
        return MachineDrained(drained=ended.exit_code == 0, detail=ended.text)
