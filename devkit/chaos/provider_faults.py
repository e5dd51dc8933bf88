"""Injected faults of a provider's API: each makes the next call of one type go wrong."""

from collections import defaultdict, deque
from enum import StrEnum

from relight.providers.rate import Call

__all__ = ("PROVIDER_FAULTS", "Call", "ProviderFault", "ProviderFaults")


class ProviderFault(StrEnum):
    """What goes wrong with a call."""

    REPLY_LOST = "done, but the reply is lost"
    UNREADABLE = "done, but a page comes instead of the reply"
    UNANSWERED = "not done, and there is no reply"
    TOO_MANY_REQUESTS = "not done: too many requests"
    SERVER_ERROR = "not done: server error"
    ACCEPTED_NOT_DONE = "accepted, but not done"


PROVIDER_FAULTS = (
    (Call.READ, ProviderFault.UNANSWERED),
    (Call.READ, ProviderFault.UNREADABLE),
    (Call.READ, ProviderFault.TOO_MANY_REQUESTS),
    (Call.READ, ProviderFault.SERVER_ERROR),
    *(
        (Call.CREATE, fault)
        for fault in ProviderFault
        if fault is not ProviderFault.ACCEPTED_NOT_DONE
    ),
    *((Call.DESTROY, fault) for fault in ProviderFault),
)
"""Every fault that can happen to each type of call."""


class ProviderFaults:
    """A queue of injected faults for each type of call.

    Attributes:
        calls: every call that was made, in order.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._queues: defaultdict[Call, deque[ProviderFault]] = defaultdict(deque)

    def inject(self, fault: ProviderFault, call: Call, times: int = 1) -> None:
        """Queue a fault for the next `times` calls of this type."""
        self._queues[call].extend([fault] * times)

    @property
    def pending(self) -> int:
        """The number of injected faults that no call has met yet."""
        return sum(map(len, self._queues.values()))

    def clear(self) -> None:
        """Remove all pending faults."""
        self._queues.clear()

    def next_for(self, call: Call) -> ProviderFault | None:
        """Record a call and return its fault, None when it succeeds."""
        self.calls.append(call)
        queue = self._queues[call]
        return queue.popleft() if queue else None
