"""The activities of this folder. Its modules import activities only from here."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.image.rollout import ImageRolloutActivities
    from activities.release import ReleaseActivities
    from activities.rollout.checks import GateCheckActivities
    from activities.rollout.opening import OpeningActivities
    from activities.rollout.preflight import PreflightActivities
    from activities.rollout.rollouts import RolloutActivities
    from activities.rollout.undo import UndoActivities

__all__ = [
    "GateCheckActivities",
    "ImageRolloutActivities",
    "OpeningActivities",
    "PreflightActivities",
    "ReleaseActivities",
    "RolloutActivities",
    "UndoActivities",
]
