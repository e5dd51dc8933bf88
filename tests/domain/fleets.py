"""Routes, freezes and exclusions for tests, and Hypothesis strategies of whole fleets.

The strategies draw each route as one choice from a table of all kinds of routes, and the ids from a
fixed list. That covers the same fleets as a draw of each field, at a fraction of the time.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import product
from random import Random
from typing import TypeVar

from hypothesis import strategies as st

from relight.domain.hold import (
    Hold,
    HoldKind,
    Selector,
)
from relight.domain.machine import Machine, MachineStatus
from relight.domain.rollout.strategy import why_not_growing
from relight.domain.route import Route, RouteStatus

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
Thing = TypeVar("Thing")


@cache
def route(
    route_id: str,
    provider: str = "linode",
    region: str = "east",
    track: str = "stable",
    architecture: str | None = "amd64",
    status: RouteStatus = RouteStatus.SERVING,
) -> Route:
    """Return a route; without an architecture it has no machine."""
    machine = None
    if architecture is not None:
        machine = Machine(
            key=f"{route_id}-g1",
            provider=provider,
            provider_id=route_id,
            region=region,
            architecture=architecture,
            status=MachineStatus.RUNNING,
        )
    return Route(
        route_id=route_id,
        track=track,
        provider=provider,
        region=region,
        status=status,
        machine=machine,
    )


def many(count: int, prefix: str = "r", **fields: str) -> list[Route]:
    """Return routes that differ only in their id."""
    return [route(f"{prefix}{number:05}", **fields) for number in range(count)]


def freeze(
    starts_in: timedelta, ends_in: timedelta, covers: Selector | None = None, owner: str = "ann"
) -> Hold:
    return Hold(
        kind=HoldKind.FREEZE,
        starts_at=NOW + starts_in,
        ends_at=NOW + ends_in,
        owner=owner,
        reason="elections",
        covers=covers or Selector(),
    )


def exclusion(
    covers: Selector, expires_in: timedelta = HOUR, owner: str = "bob", pinned_to: str | None = None
) -> Hold:
    return Hold(
        kind=HoldKind.EXCLUSION,
        starts_at=min(NOW, NOW + expires_in) - HOUR,
        covers=covers,
        owner=owner,
        reason="a customer debugs on it",
        ends_at=NOW + expires_in,
        pinned_to=pinned_to,
    )


def shuffled(things: Iterable[Thing], random: Random) -> list[Thing]:
    """Return the things in another order."""
    listed = list(things)
    random.shuffle(listed)
    return listed


PROVIDERS, REGIONS, TRACKS = ("linode", "oci"), ("east", "west"), ("stable", "beta")
providers, regions, tracks = map(st.sampled_from, (PROVIDERS, REGIONS, TRACKS))

# Not in the order of the fleet: a fleet is rarely listed in the order of its ids.
IDS = shuffled([f"{letter}{number}" for letter in "abcd" for number in range(15)], Random(1))

_WITH_MACHINE = list(
    product(
        PROVIDERS,
        REGIONS,
        TRACKS,
        ("amd64", "arm64"),
        [RouteStatus.SERVING] * 4 + [RouteStatus.FAULTED],
    )
)
_WITHOUT_MACHINE = list(
    product(
        PROVIDERS,
        REGIONS,
        TRACKS,
        (None,),
        [RouteStatus.PROVISIONING, RouteStatus.FAILED],
    )
)


def fleets_of(kinds: Sequence[tuple[str, str, str, str | None, RouteStatus]], max_size: int = 50):
    """Return a strategy of fleets whose routes are of these kinds."""
    return st.lists(st.sampled_from(kinds), min_size=1, max_size=max_size).map(
        lambda drawn: [route(IDS[at], *kind) for at, kind in enumerate(drawn)]
    )


KINDS = [*_WITH_MACHINE, *_WITHOUT_MACHINE * 2]
fleets = fleets_of(KINDS)
serving_fleets = fleets_of([kind for kind in _WITH_MACHINE if kind[-1] is RouteStatus.SERVING])

selectors = st.one_of(
    st.builds(Selector, provider=providers),
    st.builds(Selector, region=regions),
    st.builds(Selector, track=tracks),
    st.builds(Selector, provider=providers, region=regions, track=tracks),
)
_hours = st.integers(-3, 3).map(lambda hours: hours * HOUR)

freezes = st.lists(
    st.builds(
        lambda starts, lasts, covers: freeze(starts, starts + lasts, covers),
        _hours,
        st.integers(1, 3).map(lambda hours: hours * HOUR),
        st.just(Selector()) | selectors,
    ),
    max_size=3,
)
exclusions = st.lists(
    st.builds(
        exclusion,
        selectors,
        expires_in=_hours,
        pinned_to=st.sampled_from([None, "v0.0.73", "v0.0.74"]),
    ),
    max_size=3,
)
budget_sizes = st.one_of(
    st.none(),
    st.integers(1, 8).map(str),
    st.integers(1, 100).map(lambda share: f"{share}%"),
)
wave_sizes = st.lists(
    st.one_of(st.integers(1, 80).map(str), st.integers(1, 100).map(lambda share: f"{share}%")),
    max_size=5,
).map(tuple)


def growing(sizes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the sizes that are larger than those before them."""
    kept: tuple[str, ...] = ()
    for size in sizes:
        if why_not_growing((*kept, size)) is None:
            kept = (*kept, size)
    return kept


growing_sizes = wave_sizes.map(growing)
