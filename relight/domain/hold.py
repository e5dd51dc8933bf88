"""What keeps routes from being changed: freeze windows, exclusions and pins."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Self

from pydantic import AwareDatetime, StringConstraints, model_validator

from relight.domain.base import Message
from relight.domain.names import (
    ReleaseTag,
    RouteId,
    TrackName,
)
from relight.domain.route import Located

RequiredText = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
"""A name or a reason that somebody has to give."""


class Selector(Message):
    """Routes by what they are: those that have all that is named here. Naming nothing means all.

    Attributes:
        region: the provider's name of it; without a provider, the region of any.
    """

    route_id: RouteId | None = None
    provider: str | None = None
    region: str | None = None
    track: TrackName | None = None

    @property
    def means_all(self) -> bool:
        """Whether it names nothing, and so means every route."""
        return not (self.route_id or self.provider or self.region or self.track)


class FreezeWindow(Message):
    """A time in which no route that it covers is taken out; those under way are not stopped.

    Attributes:
        starts_at: its first instant.
        ends_at: the first instant after it.
        owner: who is to be asked.
        covers: the routes that it is about; all, where it says nothing.
    """

    starts_at: AwareDatetime
    ends_at: AwareDatetime
    owner: RequiredText
    reason: RequiredText
    covers: Selector = Selector()

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> Self:
        if self.ends_at <= self.starts_at:
            msg = (
                f"a freeze window ends after it starts, not from {self.starts_at} to {self.ends_at}"
            )
            raise ValueError(msg)
        return self


class Exclusion(Message):
    """Routes that rollouts leave alone, until a day that somebody has set.

    Attributes:
        covers: the routes that it is about; it has to name some.
        owner: who is to be asked.
        expires_at: the first instant at which it no longer holds.
        pinned_to: makes it a pin: the release that the routes are kept at. A rollout of that very
            release still reaches them. None keeps every release away.
    """

    covers: Selector
    owner: RequiredText
    reason: RequiredText
    expires_at: AwareDatetime
    pinned_to: ReleaseTag | None = None

    @model_validator(mode="after")
    def _names_some_routes(self) -> Self:
        if self.covers.means_all:
            msg = "an exclusion names a route, provider, region or track: to stop all, freeze"
            raise ValueError(msg)
        return self


def covers(selector: Selector, route: Located) -> bool:
    """Say whether a route has all that the selector names."""
    return (
        selector.route_id in (None, route.route_id)
        and selector.provider in (None, route.provider)
        and selector.region in (None, route.region)
        and selector.track in (None, route.track)
    )


def exclusion_of(
    route: Located, exclusions: Iterable[Exclusion], now: datetime, release_tag: ReleaseTag | None
) -> Exclusion | None:
    """Return what keeps a release away from a route; of several, what does so the longest.

    Args:
        route: the route.
        exclusions: all that are on record, expired ones too.
        now: the instant that is asked about, with its time zone.
        release_tag: the release that is to come; a pin to it does not keep it away. None where
            it is not known yet: every pin does.
    """
    held = [
        exclusion
        for exclusion in exclusions
        if now < exclusion.expires_at
        and (exclusion.pinned_to is None or exclusion.pinned_to != release_tag)
        and covers(exclusion.covers, route)
    ]
    return max(held, key=_by_expiry, default=None)


def freezes_of(route: Located, freezes: Iterable[FreezeWindow]) -> tuple[FreezeWindow, ...]:
    """Return the freeze windows that cover a route, past and future ones too."""
    return tuple(freeze for freeze in freezes if covers(freeze.covers, route))


def active_freeze(freezes: Iterable[FreezeWindow], now: datetime) -> FreezeWindow | None:
    """Return the freeze window that `now` lies in; of several, the one that ends last."""
    active = [freeze for freeze in freezes if freeze.starts_at <= now < freeze.ends_at]
    return max(active, key=_by_end, default=None)


def thaws_at(freezes: Sequence[FreezeWindow], now: datetime) -> datetime | None:
    """Return the first instant from now on that no freeze window holds; None if that is now."""
    instant = now
    while freeze := active_freeze(freezes, instant):
        instant = freeze.ends_at
    return None if instant == now else instant


# Whoever comes last by these is the same one in whatever order they are listed.
def _by_expiry(exclusion: Exclusion) -> tuple[datetime, str, str, str]:
    return exclusion.expires_at, exclusion.owner, exclusion.reason, exclusion.pinned_to or ""


def _by_end(freeze: FreezeWindow) -> tuple[datetime, str, str]:
    return freeze.ends_at, freeze.owner, freeze.reason


# MERGEDOC """Which routes are kept from being changed, by whom, and until when."""
