"""Permits: how many uses of a limited resource each worker may have at once. Pure.

A limit holds for the whole fleet, however many workers there are. Each worker leases some of its
permits, and uses them without asking again.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Lease:
    """The permits of one worker.

    Attributes:
        count: how many it has.
        wanted: how many it needs now.
    """

    count: int
    wanted: int


@dataclass(frozen=True)
class Granted:
    """The answer to a worker.

    Attributes:
        count: how many permits it has from now on.
        allowed: up to how many uses it may begin new ones. Less than it has while others need some
            that it is still using.
    """

    count: int
    allowed: int


def grant(limit: int, wanted: int, used: int, others: Sequence[Lease]) -> Granted:
    """Return how many permits a worker has from now on.

    While all have what they need, each gets what it wants. Once another lacks some, a worker keeps
    an equal part of the limit, and gives back the rest as its uses end. All leases together never
    exceed the limit.

    Args:
        limit: for all workers together.
        wanted: how many this worker needs.
        used: how many of them it is using: these cannot be given back.
        others: the valid leases of the other workers.
    """
    free = max(limit - sum(each.count for each in others), 0)
    if any(each.count < each.wanted for each in others):
        competing = 1 + sum(each.wanted > 0 for each in others)
        wanted = min(wanted, max(limit // competing, 1))
    count = min(max(wanted, used), free)
    return Granted(count, min(wanted, count))
