"""What the fleet declares, and what its event log says."""

from datetime import datetime

from pydantic import Field

from relight.domain.base import Message
from relight.domain.fault.fault import FaultClass
from relight.domain.names import (
    ReleaseTag,
    RouteId,
    TrackName,
)


class Track(Message):
    """A named group of routes.

    Attributes:
        release_override: the release that its routes should run in place of the fleet's default.
    """

    name: TrackName
    release_override: ReleaseTag | None = None


class Event(Message):
    """One line of the append-only event log.

    Attributes:
        at: UTC.
        kind: what happened, in kebab-case, as in `route-proven`.
        requested_by: who asked for it.
        reason: what they gave as the reason.
        workflow_id: the operation that it belongs to, empty for a command typed by hand.
        detail: all that is known of it, JSON-ready.
    """

    event_id: int
    at: datetime
    kind: str
    requested_by: str
    reason: str
    workflow_id: str = ""
    run_id: str = ""
    route_id: RouteId | None = None
    machine_key: str | None = None
    release_tag: ReleaseTag | None = None
    fault_kind: str | None = None
    fault_class: FaultClass | None = None
    detail: dict[str, object] = Field(default_factory=dict)
