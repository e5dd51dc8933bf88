"""Durations of hot swaps: those in the event log, else an assumption."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

from relight.domain.duration import span
from relight.domain.event import Event
from relight.domain.proof import ReleaseSwapped

if TYPE_CHECKING:  # slow to import
    from relight.store.store import Store

SWAP_ATTEMPTED = "swap-attempted"
"""The event kind that records each attempt at a swap."""

NEWEST = 1000
"""How many events are read. Older ones are about other releases and hosts."""

ASSUMED = tuple(timedelta(seconds=seconds) for seconds in (15, 18, 20, 22, 25, 30, 45, 90))
"""With a stability window of 10 s: most hosts download quickly, some slowly."""


@dataclass(frozen=True)
class SwapDurations:
    """Durations of swaps, and their source.

    Attributes:
        each: one or more, the shortest first.
        source: `recorded` in the event log, or `assumed`.
    """

    each: Sequence[timedelta]
    source: Literal["recorded", "assumed"]

    @property
    def median(self) -> timedelta:
        """Their median."""
        return self.each[(len(self.each) - 1) // 2]

    @property
    def summary(self) -> Mapping[str, object]:
        """Their source, count and spread."""
        return {
            "source": self.source,
            "count": len(self.each),
            "shortest": self.each[0],
            "median": self.median,
            "longest": self.each[-1],
        }

    @property
    def text(self) -> str:
        """The same in one sentence."""
        spread = f"{span(self.each[0])} to {span(self.each[-1])}, median {span(self.median)}"
        if self.source == "recorded":
            return f"duration of a swap, from the last {len(self.each)}: {spread}"
        return f"no swap is recorded yet; assumed duration: {spread}"


ASSUMED_DURATIONS = SwapDurations(ASSUMED, "assumed")


def swap_durations(store: "Store") -> SwapDurations:
    """Return the durations of the newest swaps, or an assumption if none is recorded."""
    events = store.events.list(kind=SWAP_ATTEMPTED, limit=NEWEST)
    recorded = [duration for event in events if (duration := _duration(event)) is not None]
    if recorded:
        return SwapDurations(sorted(recorded), "recorded")
    return ASSUMED_DURATIONS


def _duration(event: Event) -> timedelta | None:
    """Return how long a swap took: the change and its proof. None if it failed.

    Other parts of the operation, such as connecting, are in no event; they take about a second.
    """
    if event.fault_kind is not None:
        return None
    try:
        swapped = ReleaseSwapped.model_validate(event.detail.get("seen"))
    except ValidationError:  # an event of another version, with another schema
        return None
    return swapped.took + swapped.proof.stable_for
