"""On whose behalf the store is written."""

from dataclasses import dataclass

from messages.base import Origin


@dataclass(frozen=True)
class Operation:
    """Who asks for a write, and as part of what.

    Attributes:
        origin: who, and why.
        workflow_id: the workflow that writes, empty for a command typed by hand.
        run_id: that workflow's run.
        activity_id: the activity of that run. Its retries have the same id, and write once.
    """

    origin: Origin
    workflow_id: str = ""
    run_id: str = ""
    activity_id: str = ""
