"""What can go wrong at a provider, brought on purpose: one kind for the next calls of one sort."""

from collections import defaultdict, deque
from enum import StrEnum


class Call(StrEnum):
    """What a provider is asked for."""

    LOOK = "look"
    CREATE = "create"
    DESTROY = "destroy"


class Trouble(StrEnum):
    """What becomes of a call."""

    REPLY_LOST = "it is done, and the answer is lost"
    UNANSWERED = "it is not done, and no answer comes"
    TOO_MANY = "it is not done: too many requests"
    BROKEN = "it is not done: an error of the server's"
    NOT_DONE = "it is accepted, and not done"


AT_THE_PROVIDER = (
    *((Call.LOOK, trouble) for trouble in (Trouble.UNANSWERED, Trouble.TOO_MANY, Trouble.BROKEN)),
    *((Call.CREATE, trouble) for trouble in Trouble if trouble is not Trouble.NOT_DONE),
    *((Call.DESTROY, trouble) for trouble in Trouble),
)
"""What can become of each sort of call."""


class Troubles:
    """The troubles that are still to come, for each sort of call in their order.

    Attributes:
        asked: every call that was made, in order.
    """

    def __init__(self) -> None:
        self.asked: list[Call] = []
        self._due: defaultdict[Call, deque[Trouble]] = defaultdict(deque)

    def bring(self, trouble: Trouble, call: Call, times: int = 1) -> None:
        """Bring `trouble` on the next calls of this sort that have none yet."""
        self._due[call].extend([trouble] * times)

    @property
    def still_due(self) -> int:
        """How many troubles have met no call yet."""
        return sum(map(len, self._due.values()))

    def clear(self) -> None:
        """Bring nothing more."""
        self._due.clear()

    def take(self, call: Call) -> Trouble | None:
        """Return what becomes of a call that is made now, None if all is well."""
        self.asked.append(call)
        due = self._due[call]
        return due.popleft() if due else None
