"""The daemon's health probe, asked from the control plane, as a user would come to it."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, Protocol

from remote.command_probe import CommandProbe
from remote.destination import Destination
from remote.errors import NobodyListensError
from remote.http_probe import HttpProbe
from remote.tcp_probe import TcpProbe

__all__ = ["CommandProbe", "HttpProbe", "PatientProbe", "Probe", "TcpProbe", "probe_of"]

ASKED_AGAIN_AFTER = timedelta(milliseconds=200)


class Probe(Protocol):
    """Asks a host whether its daemon is healthy."""

    async def __call__(self, destination: Destination) -> str:
        """Return what was asked and answered, in one line.

        Raises:
            ProbeFailedError: no answer, or not that of a healthy daemon; with its words.
        """


@dataclass(frozen=True)
class PatientProbe:
    """Asks again while nobody listens. Whatever else it meets is an answer.

    systemd calls most daemons running before they have opened their port.

    Attributes:
        probe: what is asked.
        patience: for how long it is asked anew; zero asks once.
    """

    probe: Probe
    patience: timedelta

    async def __call__(self, destination: Destination) -> str:
        """Ask until somebody listens."""
        now = asyncio.get_running_loop().time
        end = now() + self.patience.total_seconds()
        pause = ASKED_AGAIN_AFTER.total_seconds()
        while True:
            try:
                return await self.probe(destination)
            except NobodyListensError as error:
                if now() + pause > end:
                    if self.patience:
                        error.text += f", for {self.patience.total_seconds():g} s"
                    raise
            await asyncio.sleep(pause)


def probe_of(
    kind: Literal["http", "tcp", "command"],
    *,
    port: int,
    path: str,
    command: tuple[str, ...],
    timeout: timedelta,
    patience: timedelta,
) -> PatientProbe:
    """Return the probe that was chosen.

    Args:
        kind: which one.
        port: where `http` and `tcp` ask.
        path: what `http` asks for.
        command: what `command` runs.
        timeout: how long one answer may take.
        patience: how long it is asked again while nobody listens.
    """
    probe: Probe
    match kind:
        case "http":
            probe = HttpProbe(port, path, timeout)
        case "tcp":
            probe = TcpProbe(port, timeout)
        case "command":
            probe = CommandProbe(command, timeout)
    return PatientProbe(probe, patience)
