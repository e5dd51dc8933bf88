"""What declares a release: the fleet's default, and each track's override.

Raises `BadValueError` for a tag that is none, `UnknownTrackError` for a track that is not there.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime

from sqlalchemy import JSON, func, type_coerce
from sqlmodel import Session, col, select

from relight.domain.event import Track
from relight.domain.names import (
    DEFAULT_RELEASE_SETTING,
    FLEET_SCOPE,
    ReleaseTag,
    ScopeName,
    scope_track,
    track_scope,
)
from relight.store.database import Database
from relight.store.errors import UnknownTrackError
from relight.store.rows import naming
from relight.store.tables import (
    EventRow,
    SettingRow,
    TrackRow,
)
from relight.store.write import Write

SETTING_SET = "setting-set"
TRACK_SET = "track-set"


def set_setting(w: Write, name: str, value: str) -> None:
    """Set one of the fleet's settings, and log it."""
    row = w.session.get(SettingRow, name)
    previous = row.value if row else None
    row = row or SettingRow(name=name, value=value)
    row.value = value
    w.session.add(row)
    w.log(
        kind=SETTING_SET,
        release_tag=value if name == DEFAULT_RELEASE_SETTING else None,
        detail={"name": name, "value": value, "previous": previous},
    )


def set_track(w: Write, track: Track) -> None:
    """Write a track and its override down, and log it."""
    row = w.session.get(TrackRow, track.name)
    created = row is None
    row = row or TrackRow(name=track.name)
    previous = row.release_override
    row.release_override = track.release_override
    w.session.add(row)
    w.log(
        kind=TRACK_SET,
        release_tag=track.release_override,
        detail={
            "name": track.name,
            "release_override": track.release_override,
            "previous": previous,
            "created": created,
        },
    )


def declare(w: Write, scope: ScopeName, release_tag: ReleaseTag) -> None:
    """Make a release what the scope declares, and log it."""
    track = scope_track(scope)
    if track is None:
        set_setting(w, DEFAULT_RELEASE_SETTING, release_tag)
    else:
        require_track(w.session, track)
        set_track(w, Track(name=track, release_override=release_tag))


def require_track(session: Session, name: str) -> Track:
    """Return the track; refuse one that is not there."""
    row = session.get(TrackRow, name)
    if row is None:
        raise UnknownTrackError(f"there is no track {name}")
    return track_of(row)


def track_of(row: TrackRow) -> Track:
    """Return a row's track."""
    with naming(f"track {row.name}"):
        return Track(name=row.name, release_override=row.release_override)


class Declared:
    """The times of declarations."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def at(self) -> Mapping[ScopeName, datetime]:
        """Return when each scope's release was last declared.

        A declaration that was changed by plain SQL leaves no event: where the last event says
        another release than is declared now, nobody knows, and the scope is not there. One that
        was set by SQL to what it was before cannot be told from one that was never touched.
        """
        with self._database.reading() as session:
            now = _declared_now(session)
            return {
                scope: at
                for scope, at, tag in _last_declarations(session)
                if tag is not None and now.get(scope) == tag
            }


def _declared_now(session: Session) -> Mapping[ScopeName, ReleaseTag | None]:
    default = session.get(SettingRow, DEFAULT_RELEASE_SETTING)
    tracks = session.exec(select(TrackRow))
    return {
        FLEET_SCOPE: default.value if default else None,
        **{track_scope(track.name): track.release_override for track in tracks},
    }


def _last_declarations(
    session: Session,
) -> Iterator[tuple[ScopeName, datetime, ReleaseTag | None]]:
    name = type_coerce(col(EventRow.detail), JSON)["name"].as_string()
    for kind in (SETTING_SET, TRACK_SET):
        newest = select(func.max(EventRow.event_id)).where(EventRow.kind == kind).group_by(name)
        query = select(EventRow).where(col(EventRow.event_id).in_(newest))
        for event in session.exec(query):
            declared = event.detail.get("name")
            if kind == TRACK_SET:
                yield track_scope(str(declared)), event.at, event.release_tag
            elif declared == DEFAULT_RELEASE_SETTING:
                yield FLEET_SCOPE, event.at, event.release_tag


# MERGEDOC """When each scope's release was declared, as far as the event log knows."""
