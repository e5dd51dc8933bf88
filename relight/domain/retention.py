"""Retention: how long the store keeps what has ended."""

from datetime import timedelta
from typing import Annotated

from pydantic import AwareDatetime, Field

from relight.domain.base import Message, Origin
from relight.domain.duration import Duration

MIN_RETENTION = timedelta(days=7)
"""Retries of operations and the remediation of routes read the events of the last days."""

PRUNE_WORKFLOW_ID = "prune-store"

Retention = Annotated[Duration, Field(ge=MIN_RETENTION)]


class PruneStoreInput(Message):
    """Delete what ended longer ago than `older_than`."""

    older_than: Retention
    origin: Origin


class StorePruned(Message):
    """What was deleted, or would be in a dry run.

    Attributes:
        before: only what had ended by then.
        events: lines of the event log. The last proof of each route stays, the last one at another
            release, and the declarations that hold.
        rollouts: closed rollouts, with their routes. The last one of each scope stays.
        machines: destroyed machines that never served a route. A route's machines all stay.
        holds: freezes, exclusions and breaker overrides that have ended.
        configurations: those that no release on record names.
    """

    before: AwareDatetime
    events: int = 0
    rollouts: int = 0
    machines: int = 0
    holds: int = 0
    configurations: int = 0
