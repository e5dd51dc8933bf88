"""Holds: freeze windows, exclusions and pins, which keep routes from being changed."""

from collections.abc import Iterable, Sequence
from datetime import datetime
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


class FreezeWindow(Message):
    """A period in which no covered route is taken out. Operations in progress are not stopped.

    Attributes:
        starts_at: included.
        ends_at: excluded.
        owner: the person to ask.
        covers: the frozen routes; all of them by default.
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
    """Routes that rollouts leave alone until a date.

    Attributes:
        covers: the excluded routes; a selector of all routes is refused.
        owner: the person to ask.
        expires_at: the exclusion ends at this time.
        pinned_to: makes it a pin: the release that the routes stay at. A rollout of this release
            still changes them. None excludes every release.
    """

    covers: Selector
    owner: RequiredText
    reason: RequiredText
    expires_at: AwareDatetime
    pinned_to: ReleaseTag | None = None

    @model_validator(mode="after")
    def _names_some_routes(self) -> Self:
        if self.covers.selects_all:
            msg = "an exclusion names a route, provider, region or track: to stop all, freeze"
            raise ValueError(msg)
        return self


def covers(selector: Selector, route: Located) -> bool:
    """Return whether the selector selects a route."""
    return (
        selector.route_id in (None, route.route_id)
        and selector.provider in (None, route.provider)
        and selector.region in (None, route.region)
        and selector.track in (None, route.track)
    )


def exclusion_of(
    route: Located, exclusions: Iterable[Exclusion], now: datetime, release_tag: ReleaseTag | None
) -> Exclusion | None:
    """Return the exclusion that keeps a release from a route; of several, the last to expire.

    Args:
        route: the route.
        exclusions: all exclusions on record, expired ones too.
        now: the current time, with its time zone.
        release_tag: the release to install; a pin to it does not exclude it. None if it is not
            known yet: every pin then excludes it.
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
    """Return the freeze windows that cover a route, past and future ones included."""
    return tuple(freeze for freeze in freezes if covers(freeze.covers, route))


def active_freeze(freezes: Iterable[FreezeWindow], now: datetime) -> FreezeWindow | None:
    """Return the freeze window that is active now; of several, the one that ends last."""
    active = [freeze for freeze in freezes if freeze.starts_at <= now < freeze.ends_at]
    return max(active, key=_by_end, default=None)


def thaws_at(freezes: Sequence[FreezeWindow], now: datetime) -> datetime | None:
    """Return when the freeze ends, over consecutive windows; None if nothing is frozen now."""
    instant = now
    while freeze := active_freeze(freezes, instant):
        instant = freeze.ends_at
    return None if instant == now else instant


# Total orders: the result does not depend on the order of the records.
def _by_expiry(exclusion: Exclusion) -> tuple[datetime, str, str, str]:
    return exclusion.expires_at, exclusion.owner, exclusion.reason, exclusion.pinned_to or ""


def _by_end(freeze: FreezeWindow) -> tuple[datetime, str, str]:
    return freeze.ends_at, freeze.owner, freeze.reason
