"""The requests to delete machines, as the provider receives them, each with the truth at that time.

Whoever judges them needs nothing that Relight says: the machine's service was asked immediately
before the provider got the request.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

HEALTH_PORT = 8899
_TIMEOUT = 1.0


@dataclass(frozen=True)
class Deletion:
    """The first request to delete a machine.

    Attributes:
        answered: its service answered, immediately before the request.
        spare: other machines of its pool whose service answered then, and that served no route;
            empty for a machine that is none of a pool's.
    """

    machine_id: str
    label: str
    answered: bool
    spare: frozenset[str] = frozenset()


@dataclass
class Deletions:
    """Records the first request for each machine.

    Attributes:
        serving: the keys of the machines that serve routes by the store, kept up to date by
            whoever watches it.
    """

    serving: frozenset[str] = frozenset()
    _found: dict[str, Deletion] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, machine: Mapping[str, Any], all_machines: Iterable[Mapping[str, Any]]) -> None:
        """Record a request that the provider is about to receive.

        Args:
            machine: as the provider shows it.
            all_machines: all that the provider has.
        """
        pool, _, number = machine["label"].rpartition("-")
        others: list[Mapping[str, Any]] = []
        if number.isdigit():
            others = [
                each
                for each in all_machines
                if each["label"].rpartition("-")[0] == pool
                and each["label"] not in {machine["label"], *self.serving}
                and each["status"] == "running"
            ]
        with self._lock:
            if machine["id"] not in self._found and machine["status"] != "deleting":
                self._found[machine["id"]] = Deletion(
                    machine["id"],
                    machine["label"],
                    answers(machine["address"]),
                    frozenset(each["label"] for each in others if answers(each["address"])),
                )

    def all(self) -> Sequence[Deletion]:
        """Return the recorded requests, oldest first."""
        with self._lock:
            return list(self._found.values())


def answers(address: str | None) -> bool:
    """Return whether the service of a machine answers that it is healthy."""
    try:
        url = f"http://{address}:{HEALTH_PORT}/healthz"
        return httpx.get(url, timeout=_TIMEOUT, trust_env=False).is_success
    except httpx.HTTPError:
        return False
