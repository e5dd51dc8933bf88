"""What a rollout will do with each route, before it does it."""

from datetime import datetime

from relight.domain.base import Message
from relight.domain.names import (
    ReleaseTag,
    RouteId,
    TrackName,
)


class Stratum(Message):
    """Routes on which a release may behave in its own way: a canary has to meet each kind.

    Attributes:
        architecture: Debian's name of the machine's, `unknown` where there is no machine.
    """

    provider: str
    architecture: str
    track: TrackName


class LeftOut(Message):
    """A route of the scope that the rollout will not touch, and why.

    Attributes:
        reason: the exclusion's, or what is amiss with the route.
        owner: whose exclusion it is, None where no one excluded it.
        expires_at: when the exclusion ends, and the route joins late.
        pinned_to: the release that it is kept at.
    """

    route_id: RouteId
    reason: str
    owner: str | None = None
    expires_at: datetime | None = None
    pinned_to: ReleaseTag | None = None


class FrozenRoute(Message):
    """A route of a wave that a freeze window holds now: it waits, and its wave with it.

    Attributes:
        owner: whose window it is; of several, the one that ends last.
        thaws_at: when no window holds the route any more.
    """

    route_id: RouteId
    reason: str
    owner: str
    thaws_at: datetime


class PlannedRollout(Message):
    """Every route of a scope, once: in a wave, or left out.

    Attributes:
        waves: the routes that are changed between two gates, in the order of their turn; the
            first is the canary. The disruption budget decides how many are out at once.
        left_out: those that are not touched, by id.
        frozen: those of the waves that wait for the end of a freeze window, by id.
        strata: what the canary meets.
        unmet_strata: what is in the waves, and not in the canary.
    """

    waves: tuple[tuple[RouteId, ...], ...]
    left_out: tuple[LeftOut, ...] = ()
    frozen: tuple[FrozenRoute, ...] = ()
    strata: tuple[Stratum, ...] = ()
    unmet_strata: tuple[Stratum, ...] = ()
