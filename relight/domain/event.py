"""Events: the append-only log of what happened to the fleet."""

from datetime import datetime

from pydantic import Field

from relight.domain.base import Message
from relight.domain.fault.fault import FaultClass
from relight.domain.names import ReleaseTag, RouteId


class Event(Message):
    """One line of the event log.

    Attributes:
        at: UTC.
        kind: what happened, in kebab-case, as in `route-proven`.
        requested_by: who requested the operation.
        reason: the reason that they gave.
        workflow_id: the operation that it belongs to, empty for a command typed by hand.
        detail: all further facts, JSON-ready.
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


class EventFilter(Message):
    """Which events to read: those that match every given value.

    Attributes:
        route_id: the route that they are about.
        run_id: those that belong to this run of an operation.
        rollout_run_id: the rollout's own, and those about its routes while it ran.
        kind: their kind, or the kind of their fault.
        who: who requested the operation: `USER@HOST`, or USER on any host.
        since: not before, UTC.
    """

    route_id: RouteId | None = None
    run_id: str | None = None
    rollout_run_id: str | None = None
    kind: str | None = None
    who: str | None = None
    since: datetime | None = None
