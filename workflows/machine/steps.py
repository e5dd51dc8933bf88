"""The activities that the making and the removal of a machine await: this folder's only way to `activities`."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.machine.destruction import DestructionActivities
    from activities.machine.first_boot import FirstBootActivities
    from activities.machine.machines import MachineActivities
    from activities.route.hot_swap import HotSwapActivities
    from activities.route.proof import ProofActivities
    from activities.route.routes import RouteActivities

__all__ = [
    "DestructionActivities",
    "FirstBootActivities",
    "HotSwapActivities",
    "MachineActivities",
    "ProofActivities",
    "RouteActivities",
]
