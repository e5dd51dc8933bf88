"""Release skew: how many routes of each track are at which target and current release."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

from pydantic import AwareDatetime, Field

from relight.domain.base import Message
from relight.domain.names import ReleaseTag, TrackName

BAR_WIDTH: Final = 20
"""Characters of a bar that stands for all routes of a track."""


class SkewPair(Message):
    """The routes of a track that have the same target and current release.

    Attributes:
        target: the tag of what they should run, as it is on record.
        current: the tag of what they were last proven to run.
        routes: how many they are.
        lags_since: since when the target of the first of them differs from what it runs; None if it
            does not differ, or if that is not on record any more.
    """

    target: str | None
    current: str | None
    routes: int = Field(ge=1)
    lags_since: AwareDatetime | None = None

    @property
    def lags(self) -> bool:
        """Whether they do not run what they should."""
        return self.target != self.current


class TrackSkew(Message):
    """The skew of one track. Only routes that are in service count.

    Attributes:
        declared: the release that is declared for it; None without one.
        routes: how many routes it has.
        lagging: how many of them do not run their target.
        oldest_lag: since when the first of these differs.
        pairs: those that lag first, the largest first; only the first ones if there are many.
    """

    track: TrackName
    declared: ReleaseTag | None
    routes: int = Field(ge=1)
    lagging: int = Field(ge=0)
    oldest_lag: AwareDatetime | None = None
    pairs: tuple[SkewPair, ...]


class FleetSkew(Message):
    """The skew of a fleet, by track.

    Attributes:
        hidden: how many pairs are left out of the tracks.
    """

    tracks: tuple[TrackSkew, ...] = ()
    hidden: int = Field(default=0, ge=0)


def fleet_skew(
    counted: Iterable[tuple[TrackName, SkewPair]],
    declared: Mapping[TrackName, ReleaseTag | None],
    max_pairs: int | None = None,
) -> FleetSkew:
    """Return the skew of a fleet.

    Args:
        counted: every pair of each track, in any order.
        declared: the release of each track.
        max_pairs: how many pairs are listed of each track; None for all.
    """
    by_track: defaultdict[TrackName, list[SkewPair]] = defaultdict(list)
    for track, pair in counted:
        by_track[track].append(pair)
    tracks = [
        _track_skew(track, by_track[track], declared.get(track)) for track in sorted(by_track)
    ]
    listed = [
        each.model_copy(update={"pairs": each.pairs[:max_pairs]}) if max_pairs else each
        for each in tracks
    ]
    total = sum(len(each.pairs) for each in tracks)
    return FleetSkew(tracks=tuple(listed), hidden=total - sum(len(each.pairs) for each in listed))


SKEW_HEADER: Final = ("track", "declared", "target", "current", "routes", "", "lags since (UTC)")
"""The heads of the table of a skew."""


def skew_rows(skew: FleetSkew) -> list[tuple[str, ...]]:
    """Return the table of a skew, a row for each pair; its bar is its share of the track."""
    return [
        (
            track.track,
            track.declared or "-",
            pair.target or "-",
            pair.current or "-",
            str(pair.routes),
            "#" * max(1, BAR_WIDTH * pair.routes // track.routes),
            _since(pair),
        )
        for track in skew.tracks
        for pair in track.pairs
    ]


def _since(pair: SkewPair) -> str:
    if not pair.lags:
        return "-"
    return f"{pair.lags_since:%Y-%m-%d %H:%M}" if pair.lags_since else "not on record"


def _track_skew(track: TrackName, pairs: list[SkewPair], declared: ReleaseTag | None) -> TrackSkew:
    lagging = [pair for pair in pairs if pair.lags]
    return TrackSkew(
        track=track,
        declared=declared,
        routes=sum(pair.routes for pair in pairs),
        lagging=sum(pair.routes for pair in lagging),
        oldest_lag=min((pair.lags_since for pair in lagging if pair.lags_since), default=None),
        pairs=tuple(
            sorted(
                pairs,
                key=lambda pair: (
                    not pair.lags,
                    -pair.routes,
                    pair.target or "",
                    pair.current or "",
                ),
            )
        ),
    )
