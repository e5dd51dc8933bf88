"""Events: the append-only log of what happened to the fleet."""

import re
from datetime import datetime
from typing import Any

from pydantic import Field, model_validator

from relight.domain.base import Message
from relight.domain.fault.fault import FaultClass
from relight.domain.names import ReleaseTag, RouteId

CONCURRENCY_SET = "rollout-set-concurrency"
"""The kind of event of a person who changed how many routes a rollout changes at once."""

_WITH_ITS_NUMBER = re.compile(rf"{CONCURRENCY_SET}-([0-9]{{1,4}})")


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

    @model_validator(mode="before")
    @classmethod
    def _has_no_number_in_its_kind(cls, values: Any) -> Any:
        """Read an event of an earlier version, in which each number made a kind of its own."""
        match values:
            case {"kind": str(kind), "detail": dict(detail)} if found := _WITH_ITS_NUMBER.fullmatch(
                kind
            ):
                detail = {**detail, "max_concurrent": int(found[1])}
                return {**values, "kind": CONCURRENCY_SET, "detail": detail}
        return values


PREFLIGHT_PASSED = "preflight-passed"
"""The event of a preflight without an obstacle; its detail has the dry run in each region."""


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
