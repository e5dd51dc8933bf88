"""Holds: what an operator restricts for a time: freezes, exclusions and pins, breaker overrides."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AwareDatetime, StringConstraints, model_validator

from relight.domain.base import Message
from relight.domain.names import ReleaseTag, RouteId, TrackName
from relight.domain.route import Located

RequiredText = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
"""A mandatory name or reason."""


class Selector(Message):
    """Selects the routes that match every given field. Without a field it selects all routes.

    Attributes:
        region: the provider's name of it; without `provider` it matches at every provider.
    """

    route_id: RouteId | None = None
    provider: str | None = None
    region: str | None = None
    track: TrackName | None = None

    @property
    def selects_all(self) -> bool:
        """Whether it has no field, and so selects every route."""
        return not (self.route_id or self.provider or self.region or self.track)

    @property
    def is_group(self) -> bool:
        """Whether it selects one group: the fleet, a provider, a provider's region, a track."""
        named = {name for name, value in self.model_dump().items() if value}
        return named in ({*()}, {"provider"}, {"provider", "region"}, {"track"})


class HoldKind(StrEnum):
    """What a hold does to the routes that it covers, while it is in force.

    `freeze`: none of them is taken out. Operations in progress are not stopped. `exclusion`:
    rollouts leave them alone; with a pin they stay at one release. `breaker-override`: the breaker
    ignores the group that they are, since its machines are lost and may be replaced. Connectivity
    checks and the hourly limits still apply.
    """

    FREEZE = "freeze"
    EXCLUSION = "exclusion"
    BREAKER_OVERRIDE = "breaker-override"


class Hold(Message):
    """An operator's restriction for a time.

    Attributes:
        covers: the routes; all of them by default, which an exclusion refuses. That of a breaker
            override is one group of the breaker: the fleet, a provider, a region of a provider, or
            a track.
        starts_at: included.
        ends_at: excluded.
        owner: the person to ask.
        pinned_to: makes an exclusion a pin: the release that the routes stay at. A rollout of this
            release still changes them. None excludes every release.
    """

    kind: HoldKind
    covers: Selector = Selector()
    starts_at: AwareDatetime
    ends_at: AwareDatetime
    owner: RequiredText
    reason: RequiredText
    pinned_to: ReleaseTag | None = None

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        problem = None
        if self.ends_at <= self.starts_at:
            problem = f"a hold ends after it starts, not from {self.starts_at} to {self.ends_at}"
        elif self.kind is HoldKind.EXCLUSION and self.covers.selects_all:
            problem = "an exclusion names a route, provider, region or track: to hold all, freeze"
        elif self.kind is not HoldKind.EXCLUSION and self.pinned_to is not None:
            problem = "only an exclusion pins a release"
        elif self.kind is HoldKind.BREAKER_OVERRIDE and not self.covers.is_group:
            problem = (
                "a breaker override covers one group: all routes, a provider, a region of a"
                " provider, or a track"
            )
        if problem is not None:
            raise ValueError(problem)
        return self

    def is_in_force(self, now: datetime) -> bool:
        """Return whether it holds at an instant."""
        return self.starts_at <= now < self.ends_at


def covers(selector: Selector, route: Located) -> bool:
    """Return whether the selector selects a route."""
    return (
        selector.route_id in (None, route.route_id)
        and selector.provider in (None, route.provider)
        and selector.region in (None, route.region)
        and selector.track in (None, route.track)
    )


def exclusion_of(
    route: Located, exclusions: Iterable[Hold], now: datetime, release_tag: ReleaseTag | None
) -> Hold | None:
    """Return the exclusion that keeps a release from a route; of several, the last to end.

    Args:
        route: the route.
        exclusions: all exclusions on record, ended ones too.
        now: the current time, with its time zone.
        release_tag: the release to install; a pin to it does not exclude it. None if it is not
            known yet: every pin then excludes it.
    """
    held = [
        exclusion
        for exclusion in exclusions
        if exclusion.is_in_force(now)
        and (exclusion.pinned_to is None or exclusion.pinned_to != release_tag)
        and covers(exclusion.covers, route)
    ]
    return max(held, key=_by_exclusion_end, default=None)


def freezes_of(route: Located, freezes: Iterable[Hold]) -> tuple[Hold, ...]:
    """Return the freeze windows that cover a route, past and future ones included."""
    return tuple(freeze for freeze in freezes if covers(freeze.covers, route))


def active_freeze(freezes: Iterable[Hold], now: datetime) -> Hold | None:
    """Return the freeze window that is active now; of several, the one that ends last."""
    active = [freeze for freeze in freezes if freeze.is_in_force(now)]
    return max(active, key=_by_end, default=None)


def thaws_at(freezes: Sequence[Hold], now: datetime) -> datetime | None:
    """Return when the freeze ends, over consecutive windows; None if nothing is frozen now."""
    instant = now
    while freeze := active_freeze(freezes, instant):
        instant = freeze.ends_at
    return None if instant == now else instant


# Total orders: the result does not depend on the order of the records.
def _by_exclusion_end(exclusion: Hold) -> tuple[datetime, str, str, str]:
    return exclusion.ends_at, exclusion.owner, exclusion.reason, exclusion.pinned_to or ""


def _by_end(freeze: Hold) -> tuple[datetime, str, str]:
    return freeze.ends_at, freeze.owner, freeze.reason
