"""The activities of this folder. Its modules import activities only from here."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.fleet.comparison import ComparisonActivities
    from activities.fleet.key_rotation import KeyRotationActivities
    from activities.fleet.liveness import LivenessActivities
    from activities.fleet.observe import ObservationActivities
    from activities.fleet.pool import PoolActivities
    from activities.fleet.remediation import RemediationActivities
    from activities.fleet.retention import RetentionActivities
    from activities.fleet.sweep import SweepActivities
    from activities.fleet.verification import VerificationActivities
    from activities.machine.destruction import DestructionActivities
    from activities.machine.machines import MachineActivities
    from activities.machine.new_key import NewKeyActivities
    from activities.release import ReleaseActivities

__all__ = [
    "ComparisonActivities",
    "DestructionActivities",
    "KeyRotationActivities",
    "LivenessActivities",
    "MachineActivities",
    "NewKeyActivities",
    "ObservationActivities",
    "PoolActivities",
    "ReleaseActivities",
    "RemediationActivities",
    "RetentionActivities",
    "SweepActivities",
    "VerificationActivities",
]
