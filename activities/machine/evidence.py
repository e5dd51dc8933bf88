"""What a machine has to say before it is destroyed: read as far as it can be, and kept.

It helps whoever asks later why the machine went. Nothing waits for it: a host that is out of reach
is itself noted, and is what the evidence says then.
"""

import asyncio
import re
from collections.abc import Callable, Collection, Coroutine, Mapping
from datetime import timedelta
from typing import Any

from activities import policies
from activities.operation import current_operation
from relight.domain.fault.error import DomainError
from relight.domain.machine import Machine
from relight.domain.replacement import EvidenceSaved, SaveEvidenceInput
from relight.engine.step import step
from relight.hosts import host_program
from relight.hosts.connections import Hosts
from relight.providers.driver import ProviderDriver
from relight.store.store import Store

KEPT_CHARACTERS = 16 * 1024
"""How much of each is kept, from its end."""

WITHIN = timedelta(seconds=20)
"""How long each may take: a login of ten seconds and two questions."""

JOURNAL_LINES = 200

EVIDENCE_SAVED = "evidence-saved"

_DPKG_LOG = "dpkg-log"
_QUESTIONS = {_DPKG_LOG: ["tail", "-c", str(KEPT_CHARACTERS), "/var/log/dpkg.log"]}
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
)
_HIDDEN = "[hidden]"

Read = Callable[[Machine], Coroutine[Any, Any, str]]


class EvidenceActivities:
    """Reads, and writes one event."""

    def __init__(
        self,
        hosts: Hosts,
        drivers: Mapping[str, ProviderDriver],
        store: Store,
        secrets: Collection[str] = (),
    ) -> None:
        """Know where to read.

        Args:
            hosts: the way to the machine.
            drivers: the providers, some of which have a console.
            store: where the evidence is kept.
            secrets: words that are struck out of it.
        """
        self._hosts = hosts
        self._drivers = drivers
        self._store = store
        self._secrets = sorted(filter(None, secrets), key=len, reverse=True)

    @step(policies.EVIDENCE, lambda i: f"of {i.machine.key}")
    async def save_evidence(self, input: SaveEvidenceInput) -> EvidenceSaved:
        """Keep the daemon's journal, the end of dpkg's log and the provider's console."""
        reads: Mapping[str, Read] = {
            "journal": self._journal,
            _DPKG_LOG: self._dpkg_log,
            "console": self._console,
        }
        came = await asyncio.gather(*(_tried(read, input.machine) for read in reads.values()))
        answers = dict(zip(reads, came, strict=True))
        saved = {name: self._kept(said) for name, (said, _) in answers.items() if said}
        missing = {name: self._kept(why) for name, (said, why) in answers.items() if not said}
        await asyncio.to_thread(
            self._store.events.append,
            EVIDENCE_SAVED,
            current_operation(input.origin),
            route_id=input.route_id,
            machine_key=input.machine.key,
            detail={"saved": saved, "missing": missing},
        )
        return EvidenceSaved(
            saved=tuple(saved), missing=tuple(f"{name}: {why}" for name, why in missing.items())
        )

    async def _journal(self, machine: Machine) -> str:
        async with self._hosts.connect(machine) as shell:
            told = await shell.run(host_program.journal(JOURNAL_LINES), timeout=WITHIN, sudo=True)
        return told.stdout

    async def _dpkg_log(self, machine: Machine) -> str:
        async with self._hosts.connect(machine) as shell:
            answers = await shell.ask(_QUESTIONS, timeout=WITHIN)
        return answers[_DPKG_LOG].text

    async def _console(self, machine: Machine) -> str:
        driver = self._drivers.get(machine.provider)
        return (driver and await driver.console(machine.ref)) or ""

    def _kept(self, said: str) -> str:
        """Return the end of what was said, without what nobody may read later."""
        said = _PRIVATE_KEY.sub(_HIDDEN, said)
        for secret in self._secrets:
            said = said.replace(secret, _HIDDEN)
        return said[-KEPT_CHARACTERS:]


async def _tried(read: Read, machine: Machine) -> tuple[str, str]:
    """Return what was read, and if it was nothing, why."""
    try:
        async with asyncio.timeout(WITHIN.total_seconds()):
            return await read(machine), "there is nothing"
    except TimeoutError:
        return "", f"no answer within {WITHIN.total_seconds():g} s"
    except DomainError as error:
        return "", f"{error.kind}: {error}"
