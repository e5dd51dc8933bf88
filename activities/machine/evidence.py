"""Evidence: logs of a machine, read and saved before it is destroyed.

It explains later why the machine was replaced. It is best effort: for an unreachable host, the
evidence says that it was unreachable.
"""

import asyncio
import re
from collections.abc import Callable, Collection, Coroutine, Mapping
from datetime import timedelta
from typing import Any

from activities import policies
from activities.execution import current_operation
from relight.domain.duration import span
from relight.domain.fault.error import DomainError
from relight.domain.machine import Machine
from relight.domain.replacement import EvidenceSaved, SaveEvidenceInput
from relight.domain.text import tail, visible
from relight.engine.step import step
from relight.hosts import host_program
from relight.hosts.connections import Hosts
from relight.providers.driver import ProviderDriver
from relight.store.store import Store
from relight.store.threads import in_thread

MAX_LOG_BYTES = 14 * 1024
"""How much of each log is saved, from its end."""

READ_TIMEOUT = timedelta(seconds=20)
"""For each log: a login of ten seconds and two commands."""

JOURNAL_LINES = 200

EVIDENCE_SAVED = "evidence-saved"

_DPKG_LOG = "dpkg-log"
_COMMANDS = {_DPKG_LOG: ["tail", "-c", str(MAX_LOG_BYTES), "/var/log/dpkg.log"]}
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
)
_HIDDEN = "[hidden]"

Read = Callable[[Machine], Coroutine[Any, Any, str]]


class EvidenceActivities:
    """Reads the logs of a machine, and writes them as one event."""

    def __init__(
        self,
        hosts: Hosts,
        drivers: Mapping[str, ProviderDriver],
        store: Store,
        secrets: Collection[str] = (),
    ) -> None:
        """Create the activities.

        Args:
            hosts: opens connections to machines.
            drivers: the providers; some offer a console log.
            store: receives the evidence as an event.
            secrets: values that are removed from the evidence.
        """
        self._hosts = hosts
        self._drivers = drivers
        self._store = store
        self._secrets = sorted(filter(None, secrets), key=len, reverse=True)

    @step(policies.EVIDENCE, lambda i: i.machine.key)
    async def save_evidence(self, input: SaveEvidenceInput) -> EvidenceSaved:
        """Save the service's journal, the end of dpkg's log and the provider's console log."""
        reads: Mapping[str, Read] = {
            "journal": self._journal,
            _DPKG_LOG: self._dpkg_log,
            "console": self._console,
        }
        results = await asyncio.gather(*(_try_read(read, input.machine) for read in reads.values()))
        logs = dict(zip(reads, results, strict=True))
        saved = {name: self._clean(text) for name, (text, _) in logs.items() if text}
        missing = {name: self._clean(why) for name, (text, why) in logs.items() if not text}
        await in_thread(
            self._store.events.append,
            EVIDENCE_SAVED,
            current_operation(input.origin),
            route_id=input.route_id,
            machine_key=input.machine.key,
            detail={"saved": saved, "missing": missing},
        )
        return EvidenceSaved(
            saved=tuple(saved),
            missing=tuple(f"{name}: {reason}" for name, reason in missing.items()),
        )

    async def _journal(self, machine: Machine) -> str:
        async with self._hosts.connect(machine) as shell:
            completed = await shell.run(
                host_program.journal(JOURNAL_LINES), timeout=READ_TIMEOUT, sudo=True
            )
        return completed.stdout

    async def _dpkg_log(self, machine: Machine) -> str:
        async with self._hosts.connect(machine) as shell:
            answers = await shell.ask(_COMMANDS, timeout=READ_TIMEOUT)
        return answers[_DPKG_LOG].text

    async def _console(self, machine: Machine) -> str:
        driver = self._drivers.get(machine.provider)
        return (driver and await driver.console(machine.ref)) or ""

    def _clean(self, text: str) -> str:
        """Return the end of a text, without secrets and private keys."""
        text = _PRIVATE_KEY.sub(_HIDDEN, visible(text))
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        return tail(text, MAX_LOG_BYTES)


async def _try_read(read: Read, machine: Machine) -> tuple[str, str]:
    """Return the text, and the reason in case the text is empty."""
    try:
        async with asyncio.timeout(READ_TIMEOUT.total_seconds()):
            return await read(machine), "it is empty"
    except TimeoutError:
        return "", f"no answer within {span(READ_TIMEOUT)}"
    except DomainError as error:
        return "", f"{error.kind}: {error}"
