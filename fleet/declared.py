"""When each scope's release was declared, as far as the event log knows."""

from collections.abc import Iterator, Mapping
from datetime import datetime

from sqlalchemy import JSON, func, type_coerce
from sqlmodel import Session, col, select

from fleet.database import Database
from fleet.declarations import SETTING_SET, TRACK_SET
from fleet.tables import EventRow, SettingRow, TrackRow
from messages.names import DEFAULT_RELEASE_SETTING, FLEET_SCOPE, ReleaseTag, ScopeName, track_scope


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
