"""The names by which a log line says what it is about. OpenTelemetry's, where it has one."""

from typing import Final

HOST: Final = "host.name"
"""The machine's key, which is its host name."""

ADDRESS: Final = "host.ip"
ROUTE: Final = "route.id"
TRACK: Final = "track.name"
PROVIDER: Final = "cloud.provider"
REGION: Final = "cloud.region"
RELEASE: Final = "release.tag"

ROLLOUT: Final = "rollout.id"
"""The rollout's workflow id."""

WORKFLOW: Final = "workflow.id"
RUN: Final = "workflow.run_id"
ACTIVITY: Final = "activity.type"
ATTEMPT: Final = "activity.attempt"
FAULT: Final = "error.type"
FAULT_CLASS: Final = "fault.class"


def workflow_names(workflow_id: str | None, run_id: str | None) -> dict[str, str]:
    """Return what a workflow is known by, and what its id says that it is about."""
    kind, _, rest = (workflow_id or "").partition("/")
    names = {
        WORKFLOW: workflow_id,
        RUN: run_id,
        ROUTE: rest if kind == "route" else None,
        ROLLOUT: workflow_id if kind == "rollout" else None,
    }
    return {name: value for name, value in names.items() if value}
