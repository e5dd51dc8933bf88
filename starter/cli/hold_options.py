"""The options of all holds, and how a hold is shown: selector, times, owner and state."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated

import typer

from relight.domain.duration import span
from relight.domain.hold import Hold, Selector, covers
from relight.domain.names import RouteId, TrackName
from relight.domain.route import Route
from starter.cli.names import route_id_of, track_or_none
from starter.cli.output import note
from starter.cli.times import (
    duration_option,
    instant_of,
)


def _route_or_none(text: str | None) -> str | None:
    return None if text is None else route_id_of(text)


def _not_blank(text: str | None) -> str | None:
    if text is not None and not text.strip():
        msg = "it is empty"
        raise typer.BadParameter(msg)
    return text


RouteOption = Annotated[
    str | None, typer.Option("--route", callback=_route_or_none, help="One route, as in eu-1.")
]
TrackOption = Annotated[
    str | None, typer.Option("--track", "-t", callback=track_or_none, help="Routes of this track.")
]
ProviderOption = Annotated[
    str | None, typer.Option("--provider", callback=_not_blank, help="Routes of this provider.")
]
RegionOption = Annotated[
    str | None,
    typer.Option(
        "--region",
        callback=_not_blank,
        help="Routes of this region; without --provider, of any provider with such a region.",
    ),
]
FromOption = Annotated[
    datetime | None,
    typer.Option(
        "--from",
        metavar="TIME",
        parser=instant_of,
        help="When it starts, as in 2026-12-24T18:00; UTC if it has no time zone.  "
        "\\[default: now]",
    ),
]
UntilOption = Annotated[
    datetime | None,
    typer.Option(
        "--until",
        metavar="TIME",
        parser=instant_of,
        help="When it ends, as in 2026-12-24T18:00; UTC if it has no time zone.",
    ),
]
ForOption = Annotated[
    timedelta | None,
    typer.Option(
        "--for",
        metavar="DURATION",
        parser=duration_option,
        help="How long it lasts, instead of --until: 30m, 4h, 2d.",
    ),
]
OwnerOption = Annotated[
    str | None,
    typer.Option(
        "--owner", callback=_not_blank, help="Who can be asked about it.  \\[default: you]"
    ),
]
RequiredReasonOption = Annotated[
    str, typer.Option("--reason", "-r", callback=_not_blank, help="Why; shown where it holds.")
]


def selector_of(
    route: RouteId | None, track: TrackName | None, provider: str | None, region: str | None
) -> Selector:
    """Return the selector that the options describe."""
    return Selector(route_id=route, track=track, provider=provider, region=region)


def selector_text(selector: Selector) -> str:
    """Return a selector for people, as in `linode/east, track beta`."""
    words = []
    if selector.route_id:
        words.append(f"route {selector.route_id}")
    if selector.provider and selector.region:
        words.append(f"{selector.provider}/{selector.region}")
    elif selector.provider:
        words.append(f"provider {selector.provider}")
    elif selector.region:
        words.append(f"region {selector.region}")
    if selector.track:
        words.append(f"track {selector.track}")
    return ", ".join(words) or "all routes"


def covered(selector: Selector, routes: Sequence[Route]) -> int:
    """Return how many of the routes a selector covers."""
    return sum(covers(selector, route) for route in routes)


def covered_text(count: int) -> str:
    """Return how many routes are covered now, as in `2 routes now`."""
    return "1 route now" if count == 1 else f"{count or 'no'} routes now"


def warn_if_none_covered(selector: Selector, count: int) -> None:
    """Warn that a hold covers no route, as with a misspelt region.

    The store knows only the locations of its routes, so it cannot reject a wrong name.
    """
    if count == 0 and not selector.selects_all:
        note(f"no route matches {selector_text(selector)} now: check the spelling")


def state_of(hold: Hold, now: datetime) -> str:
    """Return `upcoming`, `active` or `expired`."""
    if hold.is_in_force(now):
        return "active"
    return "upcoming" if now < hold.starts_at else "expired"


def state_text(hold: Hold, now: datetime) -> str:
    """Return the state and the time until it changes, as in `active, 3 h left`."""
    state = state_of(hold, now)
    if state == "upcoming":
        return f"{state}, in {span(hold.starts_at - now)}"
    return f"{state}, {span(hold.ends_at - now)} left" if state == "active" else state
