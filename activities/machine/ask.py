"""Asks a machine, before it is destroyed, whether it answers as ours."""

import asyncio
from datetime import UTC, datetime, timedelta

from relight.domain.destruction_gate import Answer
from relight.domain.machine import Machine
from relight.domain.service import Service
from relight.hosts import host_program
from relight.hosts.connections import Hosts
from relight.hosts.errors import RemoteError
from relight.hosts.observation import observe
from relight.hosts.proof import verdict

ASK_TIMEOUT = timedelta(seconds=60)
"""For one machine: a login takes at most 10 seconds, and its command 35."""


class MachineQuestions:
    """Observes machines; changes nothing there."""

    def __init__(self, hosts: Hosts, service: Service) -> None:
        self._hosts = hosts
        self._service = service

    async def ask(self, machine: Machine) -> Answer:
        """Return what a machine answers. If its service runs, it answers as ours.

        Whether it runs the right release does not matter here: it may serve users.
        """
        version: str | None = None
        kind: str | None
        try:
            async with asyncio.timeout(ASK_TIMEOUT.total_seconds()):
                async with self._hosts.connect(machine) as shell:
                    seen = await observe(shell, host_program.observe())
        except RemoteError as error:
            kind = error.kind
        except TimeoutError:
            kind = "command-timeout"
        else:
            version = seen.package.version or None
            wrong = verdict(seen, None, self._service, seen.package.version)
            kind = wrong.kind if wrong is not None and not seen.unit.is_running else None
        return Answer(at=datetime.now(UTC), fault_kind=kind, version=version)
