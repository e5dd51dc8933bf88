"""What declares a release: the fleet's default, and each track's override.

Raises `BadValueError` for a tag that is none, `UnknownTrackError` for a track that is not there.
"""

from sqlmodel import Session

from fleet.checking import naming
from fleet.errors import UnknownTrackError
from fleet.tables import SettingRow, TrackRow
from fleet.writing import Write
from messages.fleet import Track
from messages.names import DEFAULT_RELEASE_SETTING, ReleaseTag, ScopeName, scope_track

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
