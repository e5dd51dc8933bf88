"""The activities of this folder. Its modules import activities only from here."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.fleet.observe import ObservationActivities
    from activities.fleet.pool import PoolActivities
    from activities.fleet.remediation import RemediationActivities
    from activities.fleet.retention import RetentionActivities
    from activities.fleet.sweep import SweepActivities
    from activities.fleet.verification import VerificationActivities
    from activities.machine.machines import MachineActivities
    from activities.release import ReleaseActivities

__all__ = [
    "MachineActivities",
    "ObservationActivities",
    "PoolActivities",
    "ReleaseActivities",
    "RemediationActivities",
    "RetentionActivities",
    "SweepActivities",
    "VerificationActivities",
]
