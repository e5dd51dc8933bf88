"""The activities of this folder. Its modules import activities only from here."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.fleet.observe import ObservationActivities
    from activities.fleet.verification import VerificationActivities
    from activities.image.choice import ImageChoiceActivities
    from activities.image.contract import ImageContractActivities
    from activities.machine.destruction import DestructionActivities
    from activities.machine.drain import DrainActivities
    from activities.machine.first_boot import FirstBootActivities
    from activities.machine.machines import MachineActivities
    from activities.route.hot_swap import HotSwapActivities, ProofActivities
    from activities.route.routes import RouteActivities

__all__ = [
    "DestructionActivities",
    "DrainActivities",
    "FirstBootActivities",
    "HotSwapActivities",
    "ImageChoiceActivities",
    "ImageContractActivities",
    "MachineActivities",
    "ObservationActivities",
    "ProofActivities",
    "RouteActivities",
    "VerificationActivities",
]
