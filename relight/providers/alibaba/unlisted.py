"""New machines that a vendor's listings do not have yet."""

import time
from collections.abc import Callable, Collection
from datetime import timedelta

from relight.domain.machine import MachineAtProvider

LISTED_WITHIN = timedelta(minutes=5)
"""A machine that no listing has by then does not exist."""

MAX_REMEMBERED = 10_000


class Unlisted:
    """What this process has created, until a listing has it.

    Without it, a machine that was just created seems to be gone.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Remember nothing yet.

        Args:
            clock: seconds.
        """
        self._clock = clock
        self._machines: dict[str, tuple[float, MachineAtProvider]] = {}

    def add(self, machine: MachineAtProvider) -> None:
        """Remember a new machine. The oldest one is forgotten where there are too many."""
        self._machines[machine.provider_id] = (self._clock(), machine)
        if len(self._machines) > MAX_REMEMBERED:
            del self._machines[next(iter(self._machines))]

    def remove(self, provider_id: str) -> None:
        """Forget a machine: it was listed, or it is gone."""
        self._machines.pop(provider_id, None)

    def missing(
        self,
        listed: Collection[str],
        belongs: Callable[[MachineAtProvider], bool],
    ) -> list[MachineAtProvider]:
        """Return the machines that a listing lacks: they are new, or another worker deleted them.

        Args:
            listed: the ids of those that the vendor returned: they are forgotten.
            belongs: whether a machine should be in this listing.
        """
        for provider_id in listed:
            self.remove(provider_id)
        oldest = self._clock() - LISTED_WITHIN.total_seconds()
        self._machines = {
            provider_id: (at, machine)
            for provider_id, (at, machine) in self._machines.items()
            if at > oldest
        }
        return [machine for _, machine in self._machines.values() if belongs(machine)]
