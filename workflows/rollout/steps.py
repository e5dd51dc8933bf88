"""The activities that a rollout and its waves await: this folder's only way to `activities`."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.release import ReleaseActivities
    from activities.rollout.checks import GateCheckActivities
    from activities.rollout.preflight import PreflightActivities
    from activities.rollout.rollouts import RolloutActivities

__all__ = [
    "GateCheckActivities",
    "PreflightActivities",
    "ReleaseActivities",
    "RolloutActivities",
]
