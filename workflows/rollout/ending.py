"""How a rollout ends in the Temporal UI: as completed only if nothing is left to a person."""

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from relight.domain.fault.fault import Fault
from relight.domain.rollout.rollout import RolloutPhase, RolloutStatus
from relight.domain.rollout.status import NOTHING_CHANGED, ending_text
from workflows.endings import Unreached, unreached
from workflows.failures import failure

_UNREACHED = {
    RolloutPhase.STOPPED: Unreached.ROLLOUT_STOPPED,
    RolloutPhase.ABORTED: Unreached.ROLLOUT_ABORTED,
}

_FAILS = "a stopped or aborted rollout fails"
"""The patch: older histories end as completed in any phase."""


def end(status: RolloutStatus) -> RolloutStatus:
    """Return the last status of a rollout that converged or was superseded.

    Raises:
        ApplicationError: it was stopped or aborted; carries the status.
    """
    kind = _UNREACHED.get(status.phase)
    if kind is None or not workflow.patched(_FAILS):
        return status
    raise unreached(kind, ending_text(status), status)


def failed(fault: Fault, *, planned: bool) -> ApplicationError:
    """Return the error that ends a rollout with a fault; it says what became of the routes.

    Args:
        fault: the reason.
        planned: whether the rollout had its plan; without one it was refused.
    """
    outcome = "its routes keep the releases that they have" if planned else NOTHING_CHANGED
    return failure(fault, f"{fault.summary}; {outcome}")
