"""Declared releases: the fleet's default and each track's override, and when they were declared.

The functions that write raise `BadValueError` for an invalid release tag, and `UnknownTrackError`
for a track that does not exist.
"""

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import JSON, func, type_coerce
from sqlmodel import Session, col, or_, select
from sqlmodel.sql.expression import SelectOfScalar

from relight.domain.names import (
    DEFAULT_RELEASE_SETTING,
    FLEET_SCOPE,
    ReleaseTag,
    ScopeName,
    scope_track,
    track_scope,
)
from relight.domain.rollout.rollout import Rollout
from relight.domain.track import Track
from relight.store.bad_rows import read_good
from relight.store.database import Database
from relight.store.errors import UnknownTrackError
from relight.store.events import Operation, Write, write
from relight.store.rows import read_row
from relight.store.tables import (
    EventRow,
    RolloutRow,
    SettingRow,
    TrackRow,
)

SETTING_SET = "setting-set"
TRACK_SET = "track-set"
DECLARATION_TAKEN_BACK = "declaration-taken-back"

_SCOPE: TypeAdapter[str] = TypeAdapter(ScopeName)


class Declarations:
    """When each scope's release was declared, and which rollouts bear on it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def times(self) -> Mapping[ScopeName, datetime]:
        """Return when each scope's current release was declared.

        A change by plain SQL writes no event. Where the last event has another release than is
        declared now, the time is unknown and the scope is left out. A release that SQL changed and
        changed back looks like an unchanged one.
        """
        with self._database.reading() as session:
            current = _declared_now(session)
            return {
                scope: at
                for scope, at, tag in _last_declarations(session)
                if tag is not None and current.get(scope) == tag
            }

    def rollouts(self) -> list[Rollout]:
        """Return the open rollouts and the last closed one of each scope, oldest first.

        Invalid ones are noted and left out.
        """
        last_closed = (
            select(func.max(RolloutRow.rollout_id))
            .where(col(RolloutRow.closed_at).is_not(None), col(RolloutRow.image_name).is_(None))
            .group_by(RolloutRow.scope)
        )
        query = (
            select(RolloutRow)
            .where(
                or_(
                    col(RolloutRow.closed_at).is_(None),
                    col(RolloutRow.rollout_id).in_(last_closed),
                )
            )
            .order_by(col(RolloutRow.rollout_id))
        )
        with self._database.reading() as session:
            return read_good(session.exec(query), rollout_of)

    def scopes(self, rollout_ids: Collection[str]) -> Mapping[str, ScopeName]:
        """Return the scopes of rollouts by their ids; those that are no scopes are left out."""
        with self._database.reading() as session:
            rows = session.exec(select(RolloutRow.rollout_id, RolloutRow.scope)).all()
        return {
            str(number): scope
            for number, scope in rows
            if str(number) in rollout_ids and _is_scope(scope)
        }

    def before(self, scope: ScopeName, release_tag: ReleaseTag) -> ReleaseTag | None:
        """Return what was declared for a scope before a release, as the event log knows it."""
        with self._database.reading() as session:
            return _declared_before(session, scope, release_tag)

    def take_back(
        self,
        scope: ScopeName,
        release_tag: ReleaseTag,
        otherwise: ReleaseTag,
        operation: Operation,
    ) -> None:
        """Declare what was declared before a release, if that is what is declared now.

        Args:
            scope: of the declaration.
            release_tag: the release whose declaration ends.
            otherwise: declared if nothing was declared before; a track follows the default then.
            operation: for the event log.

        Raises:
            UnknownTrackError: the scope names a track that does not exist.
        """
        with write(self._database, operation, DECLARATION_TAKEN_BACK) as w:
            if w.earlier or _declared_now(w.session).get(scope) != release_tag:
                return
            before = _declared_before(w.session, scope, release_tag)
            w.log(release_tag=release_tag, detail={"scope": scope, "before": before})
            track = scope_track(scope)
            if before is None and track is not None:
                set_track(w, Track(name=track, release_override=None))
            else:
                declare(w, scope, before or otherwise)


def _is_scope(text: object) -> bool:
    try:
        _SCOPE.validate_python(text)
    except ValidationError:
        return False
    return True


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
    """Create a track or change its override, and log it."""
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
    """Declare a release for a scope, and log it."""
    track = scope_track(scope)
    if track is None:
        set_setting(w, DEFAULT_RELEASE_SETTING, release_tag)
    else:
        require_track(w.session, track)
        set_track(w, Track(name=track, release_override=release_tag))


def require_track(session: Session, name: str) -> Track:
    """Return a track.

    Raises:
        UnknownTrackError: there is no such track.
    """
    row = session.get(TrackRow, name)
    if row is None:
        raise UnknownTrackError(f"there is no track {name}")
    return track_of(row)


def rollout_of(row: RolloutRow) -> Rollout:
    """Return a row's rollout."""
    return read_row(Rollout, row, f"rollout {row.workflow_id}")


def track_of(row: TrackRow) -> Track:
    """Return a row's track."""
    return read_row(Track, row, f"track {row.name}")


def newest_declarations(kind: str) -> SelectOfScalar[int | None]:
    """Return the query for the id of the last event of one kind about each name."""
    name = type_coerce(col(EventRow.detail), JSON)["name"].as_string()
    return select(func.max(EventRow.event_id)).where(EventRow.kind == kind).group_by(name)


def _declared_now(session: Session) -> Mapping[ScopeName, ReleaseTag | None]:
    default = session.get(SettingRow, DEFAULT_RELEASE_SETTING)
    tracks = session.exec(select(TrackRow))
    return {
        FLEET_SCOPE: default.value if default else None,
        **{track_scope(track.name): track.release_override for track in tracks},
    }


def _declared_before(
    session: Session, scope: ScopeName, release_tag: ReleaseTag
) -> ReleaseTag | None:
    track = scope_track(scope)
    detail = type_coerce(col(EventRow.detail), JSON)
    declared = select(EventRow).where(
        EventRow.kind == (SETTING_SET if track is None else TRACK_SET),
        EventRow.release_tag == release_tag,
        detail["name"].as_string() == (DEFAULT_RELEASE_SETTING if track is None else track),
        detail["previous"].as_string() != release_tag,
    )
    newest = session.exec(declared.order_by(col(EventRow.event_id).desc()).limit(1)).one_or_none()
    return None if newest is None else newest.detail["previous"]


def _last_declarations(
    session: Session,
) -> Iterator[tuple[ScopeName, datetime, ReleaseTag | None]]:
    for kind in (SETTING_SET, TRACK_SET):
        query = select(EventRow).where(col(EventRow.event_id).in_(newest_declarations(kind)))
        for event in session.exec(query):
            declared = event.detail.get("name")
            if kind == TRACK_SET:
                yield track_scope(str(declared)), event.at, event.release_tag
            elif declared == DEFAULT_RELEASE_SETTING:
                yield FLEET_SCOPE, event.at, event.release_tag
