"""Which routes are kept from being changed, by whom, and until when."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from messages.names import ReleaseTag
from messages.restraints import Exclusion, FreezeWindow, Selector
from planning.candidates import Placed


def covers(selector: Selector, route: Placed) -> bool:
    """Say whether a route has all that the selector names."""
    return (
        selector.route_id in (None, route.route_id)
        and selector.provider in (None, route.provider)
        and selector.region in (None, route.region)
        and selector.track in (None, route.track)
    )


def exclusion_of(
    route: Placed, exclusions: Iterable[Exclusion], now: datetime, release_tag: ReleaseTag | None
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


def freezes_of(route: Placed, freezes: Iterable[FreezeWindow]) -> tuple[FreezeWindow, ...]:
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
