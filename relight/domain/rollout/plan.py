"""The plan of a rollout: what it will do with each route."""

from datetime import datetime

from relight.domain.base import Message, ShortText
from relight.domain.names import ReleaseTag, RouteId, TrackName


class Stratum(Message):
    """A kind of routes. A release may behave differently on each, so a canary should cover all.

    Attributes:
        architecture: Debian name; `unknown` for a route without a machine.
    """

    provider: str
    architecture: str
    track: TrackName


class LeftOut(Message):
    """A route of the scope that the rollout will not change.

    Attributes:
        reason: the exclusion's reason, or why the route cannot be changed.
        owner: owner of the exclusion, None without one.
        expires_at: when the exclusion ends; the route then joins late.
        pinned_to: the release that it stays at.
    """

    route_id: RouteId
    reason: ShortText
    owner: ShortText | None = None
    expires_at: datetime | None = None
    pinned_to: ReleaseTag | None = None


class FrozenRoute(Message):
    """A route of a wave that is frozen now. It waits, and its wave waits for it.

    Attributes:
        owner: owner of the freeze window; of several, of the one that ends last.
        thaws_at: when the last of the route's freeze windows ends.
    """

    route_id: RouteId
    reason: ShortText
    owner: ShortText
    thaws_at: datetime


class PlannedRollout(Message):
    """Every route of a scope exactly once: in a wave, or left out.

    Attributes:
        waves: the routes of each wave, in their order; the first wave is the canary. The
            disruption budget decides how many of them are out at once.
        left_out: routes that are not changed, by id.
        frozen: routes of the waves that wait for the end of a freeze window, by id.
        strata: the strata that the canary covers.
        unmet_strata: the strata of the waves that the canary does not cover.
    """

    waves: tuple[tuple[RouteId, ...], ...]
    left_out: tuple[LeftOut, ...] = ()
    frozen: tuple[FrozenRoute, ...] = ()
    strata: tuple[Stratum, ...] = ()
    unmet_strata: tuple[Stratum, ...] = ()
