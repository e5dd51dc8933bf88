"""The activities of this folder. Its modules import activities only from here."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.machine.evidence import EvidenceActivities
    from activities.machine.machines import MachineActivities
    from activities.machine.new_key import NewKeyActivities
    from activities.release import ReleaseActivities
    from activities.route.disruption import DisruptionActivities
    from activities.route.hot_swap import ProofActivities
    from activities.route.replacement import ReplacementActivities
    from activities.route.replacement_check import ReplacementCheckActivities
    from activities.route.routes import RouteActivities
    from activities.route.swap_route import SwapRouteActivities

__all__ = [
    "DisruptionActivities",
    "EvidenceActivities",
    "MachineActivities",
    "NewKeyActivities",
    "ProofActivities",
    "ReleaseActivities",
    "ReplacementActivities",
    "ReplacementCheckActivities",
    "RouteActivities",
    "SwapRouteActivities",
]
