"""Fleets for the tests of plans: a route in one line, and any fleet at all."""

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from relight.domain.hold import (
    Exclusion,
    FreezeWindow,
    Selector,
)
from relight.domain.machine import Machine, MachineStatus
from relight.domain.route import Route, RouteStatus

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


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


def many(count: int, prefix: str = "r", **what: str) -> list[Route]:
    """Return routes that are alike."""
    return [route(f"{prefix}{number:05}", **what) for number in range(count)]  # type: ignore[arg-type]


def freeze(
    starts_in: timedelta, ends_in: timedelta, covers: Selector | None = None, owner: str = "ann"
) -> FreezeWindow:
    return FreezeWindow(
        starts_at=NOW + starts_in,
        ends_at=NOW + ends_in,
        owner=owner,
        reason="elections",
        covers=covers or Selector(),
    )


def exclusion(
    covers: Selector, expires_in: timedelta = HOUR, owner: str = "bob", pinned_to: str | None = None
) -> Exclusion:
    return Exclusion(
        covers=covers,
        owner=owner,
        reason="a customer debugs on it",
        expires_at=NOW + expires_in,
        pinned_to=pinned_to,
    )


providers = st.sampled_from(["linode", "oci"])
regions = st.sampled_from(["east", "west"])
tracks = st.sampled_from(["stable", "beta"])

fleets = st.lists(
    st.builds(
        route,
        st.from_regex(r"[a-z]{1,6}", fullmatch=True),
        provider=providers,
        region=regions,
        track=tracks,
        architecture=st.sampled_from(["amd64", "arm64"]),
        status=st.sampled_from([RouteStatus.SERVING] * 4 + [RouteStatus.FAULTED]),
    )
    | st.builds(
        route,
        st.from_regex(r"[a-z]{1,6}", fullmatch=True),
        architecture=st.none(),
        status=st.sampled_from([RouteStatus.PROVISIONING, RouteStatus.FAILED]),
    ),
    min_size=1,
    max_size=50,
    unique_by=lambda each: each.route_id,
)

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
