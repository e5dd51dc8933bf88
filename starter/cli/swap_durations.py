"""How long hot swaps take: what the event log says, or, before there was one, an assumption."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

from relight.domain.event import Event
from relight.domain.proof import ReleaseSwapped
from starter.cli.times import span

if TYPE_CHECKING:  # it takes a good part of a second to import
    from relight.store.store import Store

SWAP_ATTEMPTED = "swap-attempted"
"""The event that each attempt at a swap leaves."""

NEWEST = 1000
"""How many of the events are looked at. Older ones were of other releases, and other hosts."""

ASSUMED = tuple(timedelta(seconds=seconds) for seconds in (15, 18, 20, 22, 25, 30, 45, 90))
"""With a stability window of 10 s: most hosts are quick to download, and some are not."""


@dataclass(frozen=True)
class SwapDurations:
    """Durations of swaps, and whether anybody saw them.

    Attributes:
        each: one or more, the shortest first.
        source: `recorded` in the event log, or `assumed`.
    """

    each: Sequence[timedelta]
    source: Literal["recorded", "assumed"]

    @property
    def median(self) -> timedelta:
        """The one in their middle."""
        return self.each[(len(self.each) - 1) // 2]

    @property
    def summary(self) -> Mapping[str, object]:
        """Where they come from, how many they are, and how they spread."""
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
        spread = f"{span(self.each[0])} to {span(self.each[-1])}, half of them {span(self.median)}"
        if self.source == "recorded":
            return f"swaps take what the last {len(self.each)} took: {spread} or less"
        return f"no swap is on record yet: assumed is that they take {spread} or less"


def swap_durations(store: "Store") -> SwapDurations:
    """Return how long the newest swaps took, or an assumption where none is on record."""
    events = store.events.list(kind=SWAP_ATTEMPTED, limit=NEWEST)
    recorded = [took for event in events if (took := _took(event)) is not None]
    if recorded:
        return SwapDurations(sorted(recorded), "recorded")
    return SwapDurations(ASSUMED, "assumed")


def _took(event: Event) -> timedelta | None:
    """Return how long a swap took: its change, and the look that proved it. None if it failed.

    What else an operation does, such as connecting, is in no event; it takes about a second.
    """
    if event.fault_kind is not None:
        return None
    try:
        swapped = ReleaseSwapped.model_validate(event.detail.get("seen"))
    except ValidationError:  # another version's event, in another shape
        return None
    return swapped.took + swapped.proof.stable_for
