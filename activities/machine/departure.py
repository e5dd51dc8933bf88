"""Whether a machine that its provider does not list any more has really ended.

A provider may report a machine as absent while its computer goes on running it: as long as the
host shows its own key, it exists, and costs money.
"""

import time
from datetime import timedelta

from relight.domain.destruction import DestroyMachineInput
from relight.domain.duration import span
from relight.hosts.host_key_probe import HostKeyProbe, ShownKey
from relight.providers.driver import ProviderError

UNREACHABLE_WITHIN = timedelta(minutes=5)
"""How long a host may answer after its provider reported that it is absent. Providers that
work take seconds; an attempt of the activity has ten minutes."""

MAX_UNCLEAR = 3
"""How often in a row a connection without a host key may be a machine that is about to end."""


class MachineStillAnswersError(ProviderError):
    """The provider has no such machine, and its host still answers."""

    kind = "machine-still-answers"


class Departure:
    """Follows one machine from the first answer that it is absent."""

    def __init__(self, probe: HostKeyProbe, request: DestroyMachineInput) -> None:
        self._probe = probe
        self._request = request
        self._absent_since: float | None = None
        self._unclear = 0

    def restart(self) -> None:
        """Forget what was seen: the provider has the machine after all."""
        self._absent_since, self._unclear = None, 0

    async def still_answers(self, address: str | None) -> bool:
        """Connect once; return whether the host is still the machine. One without address is not.

        Raises:
            MachineStillAnswersError: it has been for `UNREACHABLE_WITHIN`.
            HostUnreachableError: this computer cannot open a connection at all.
        """
        if address is None:
            return False
        key, now = self._request.key, time.monotonic()
        shown = await self._probe(key, address)
        self._unclear = self._unclear + 1 if shown is ShownKey.UNCLEAR else 0
        if shown is not ShownKey.OWN and not 0 < self._unclear < MAX_UNCLEAR:
            return False
        if self._absent_since is None:
            self._absent_since = now
        if now - self._absent_since >= UNREACHABLE_WITHIN.total_seconds():
            raise MachineStillAnswersError(
                self._request.provider,
                f"destroy {key}",
                f"the provider has no machine {key} any more, and the host at {address} still "
                f"answers with its host key after {span(UNREACHABLE_WITHIN)}: it runs, and may "
                "cost money. Have the provider end it: the removal then ends by itself, and "
                f"`relight machine remove {key}` begins one. `relight machine keep {key}` gives "
                "it up",
            )
        return True
