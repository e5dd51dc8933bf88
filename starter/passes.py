"""What every pass of reconciliation is asked, be it by hand or by the clock."""

from messages.base import Origin
from messages.reconciling import ReconcileFleetInput
from settings import Settings


def pass_input(settings: Settings, origin: Origin, *, dry_run: bool = False) -> ReconcileFleetInput:
    """Return what a pass is asked by this installation's settings.

    Args:
        settings: whose limits it keeps.
        origin: who asks.
        dry_run: only say what would be done.
    """
    return ReconcileFleetInput(
        origin=origin,
        policy=settings.reconcile,
        limits=settings.breaker,
        grace=settings.sweep_grace,
        dry_run=dry_run,
    )
